"""Writing files so that a final name never holds half a file and nothing recorded is lost."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from edge.errors import OutputError

logger = logging.getLogger(__name__)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, sync it and rename it.

    Raises:
        OutputError: if it cannot be written; a file of that name that was there before stays.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as stream:
            temporary = Path(stream.name)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise cannot_write(path, error) from error


def check_writable(folder: Path) -> None:
    """Make a folder and see whether files can be written in it, before hours of work depend on it.

    Raises:
        OutputError: if not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Say that a path cannot be written and what to do about it."""
    return OutputError(
        f"Cannot write {path}: {error.strerror or error}.", "Check the path and the free space."
    )


def set_aside(path: Path) -> None:
    """Rename a file or folder of an earlier run to `name.1`, `name.2`, ...: a new run overwrites nothing.

    Raises:
        OutputError: if it cannot be renamed.
    """
    if not path.exists():
        return
    number = 1
    while (aside := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    try:
        path.rename(aside)
    except OSError as error:
        raise cannot_write(aside, error) from error
    logger.info("%s of an earlier run is now %s", path.name, aside.name)
