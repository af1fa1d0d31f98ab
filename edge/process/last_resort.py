"""Handle an unforeseen error: one line for the user, the traceback in a file."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from edge import __version__
from edge.core.errors import InternalError

TRACEBACK_VARIABLE: Final = "LOOMSIGHT_TRACEBACK"
"""Set to anything, errors that nobody foresaw are not caught: for maintainers, and for the tests."""

DIGEST_DIGITS: Final = 12


def wants_traceback(environment: Mapping[str, str]) -> bool:
    """Tell whether an unforeseen error is to end the program as Python does it."""
    return bool(environment.get(TRACEBACK_VARIABLE))


def internal_error(error: BaseException) -> InternalError:
    """Return the error of a command that an unforeseen one ended; its traceback is kept."""
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, MemoryError):
        what = "the memory of this device is used up"
    kept = keep_traceback(error, os.environ)
    where = f"with {kept}" if kept else f"with what it says under {TRACEBACK_VARIABLE}=1"
    return InternalError(
        f"loomsight has failed in a way nobody foresaw ({what[:200]}).", f"Report it {where}."
    )


def keep_traceback(error: BaseException, environment: Mapping[str, str]) -> Path | None:
    """Write the traceback of an error to a file; the same fault in the same place writes the same file.

    Args:
        error: with its causes.
        environment: usually `os.environ`.
    Returns:
        The file; None if no folder can be written.
    """
    text = "".join(traceback.format_exception(error))
    digest = hashlib.sha256(_places(error).encode()).hexdigest()[:DIGEST_DIGITS]
    head = f"loomsight {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
    data = f"{head}{' '.join(sys.argv[:1])}\n\n{text}".encode(errors="backslashreplace")
    for folder in _folders(environment):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = folder / f"traceback-{digest}.txt"
            file.write_bytes(data)
        except OSError:
            continue
        return file
    return _in_a_temporary_file(data)


def _in_a_temporary_file(data: bytes) -> Path | None:
    """Write a file of a name that nobody knows beforehand: the folder belongs to all users."""
    try:
        descriptor, name = tempfile.mkstemp(prefix="loomsight-traceback-", suffix=".txt")
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
    except OSError:
        return None
    return Path(name)


def _places(error: BaseException) -> str:
    """Return where an error came from, without values that differ from run to run."""
    frames = traceback.extract_tb(error.__traceback__)
    return "\n".join([type(error).__name__, *(f"{frame.filename}:{frame.lineno}" for frame in frames[-5:])])


def _folders(environment: Mapping[str, str]) -> list[Path]:
    """Return where a user or a service keeps such files, the best place first (XDG Base Directory 0.8)."""
    named = [environment.get("STATE_DIRECTORY", "").split(":")[0], environment.get("XDG_STATE_HOME", "")]
    folders = [Path(name) / "loomsight" for name in named if name.startswith("/")]
    home = environment.get("HOME", "")
    return folders + ([Path(home) / ".local" / "state" / "loomsight"] if home.startswith("/") else [])
