"""Say what is kept when a signal ends a command, and which command goes on.

What a signal interrupts between two safe points ends with "interrupted" or "ended by SIGTERM"; the words of
this module stand before that.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from distill.core.run_folder import RunFolder
from edge.process.terminal import echo

Command = TypeVar("Command", bound=Callable[..., Any])
Arguments = Mapping[str, Any]
Words = Callable[[], str]


def said_when_stopped(words_of: Callable[[Arguments], Words]) -> Callable[[Command], Command]:
    """Let a command say on stderr what is kept when a signal ends it.

    Args:
        words_of: is called with the arguments of the command, when it begins, and returns what gives the
            words, when it was interrupted.
    """

    def decorated(command: Command) -> Command:
        @wraps(command)
        def run(**arguments: Any) -> Any:
            words = words_of(arguments)
            try:
                return command(**arguments)
            except KeyboardInterrupt:
                with suppress(OSError):
                    echo(words(), err=True)
                raise

        return run  # type: ignore[return-value]

    return decorated


def kept_run(arguments: Arguments) -> Words:
    """Return the words of a command whose `out` is the folder of a run."""
    return lambda: stopped_words(arguments["out"], is_kept=RunFolder(arguments["out"]).is_resumable)


def kept_where(name: str) -> Callable[[Arguments], Words]:
    """Return the words of a command that can be resumed once a file is in its folder `out`."""
    return lambda arguments: (
        lambda: stopped_words(arguments["out"], is_kept=(arguments["out"] / name).is_file())
    )


def whole_or_nothing(arguments: Arguments) -> Words:
    """Return the words of a command that writes `out` at its end, whole."""
    out: Path = arguments["out"]
    before = _mark(out)

    def words() -> str:
        after = _mark(out)
        if after is not None and after != before:
            return f"Stopped. {out} is written, and whole."
        left = f"Nothing was written at {out}" if after is None else f"{out} stays as it was"
        return f"Stopped. {left}: the same command starts again."

    return words


def stopped_words(out: Path, *, is_kept: bool) -> str:
    """Say how a run that a signal stopped goes on."""
    if is_kept:
        return f"Stopped. Go on with the same command and --resume --out {shlex.quote(str(out))}"
    return f"Stopped. There is nothing to go on from in {out}: the same command starts again."


def _mark(path: Path) -> tuple[int, int] | None:
    """Return what tells a file or folder from another one of its name; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
