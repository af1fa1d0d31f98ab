"""Run the commands of a step of the GPU kit, within its time."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from commands import start


class OutOfTimeError(KeyboardInterrupt):
    """The step has no time left: like Ctrl-C, but for the command that runs, which was not told."""


@contextmanager
def limited(limit_s: int) -> Iterator[None]:
    """Raise `OutOfTimeError` in the main thread after a time."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise OutOfTimeError

    signal.signal(signal.SIGALRM, end)
    signal.alarm(limit_s)
    try:
        yield
    finally:
        signal.alarm(0)


def run(folder: Path, code: str, *arguments: str) -> None:
    """Run a line of Python to its end; where the time is over it is asked to stop, and saves what it has.

    Raises:
        SystemExit: if it fails.
    """
    process = start(folder, code, *arguments)
    try:
        status = process.wait()
    except OutOfTimeError:
        process.send_signal(signal.SIGINT)
        process.wait()
        raise
    except KeyboardInterrupt:  # it reached the command, too
        process.wait()
        raise
    if status:
        sys.exit(f"{' '.join(arguments[:2])} ... ended with exit code {status}; nothing of it is lost")
