"""Start commands of `loomsight` in processes of their own, and kill them."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from edge.commands.loomsight import main as loomsight

LONGEST_S = 300.0
IMPORTED = ".imported"


def forked(arguments: list[str], log: Path) -> int:
    """Start a command of `loomsight` in a process of its own; returns its number.

    At its end it leaves the names of all modules that it has imported beside the log.
    """
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in (0, 1, 2):
            os.dup2(stream, number)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.argv = ["loomsight", *arguments]
        loomsight()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        for one in (sys.stdout, sys.stderr):
            one.flush()
        log.with_suffix(IMPORTED).write_text("\n".join(sys.modules), encoding="utf-8")
        os._exit(code)


def awaited(child: int, seconds: float) -> int | None:
    """Wait for a process; returns its exit code, or None if it still runs after so long."""
    end_s = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end_s:
            return None
        time.sleep(0.002)


def in_peace(arguments: list[str], log: Path) -> int:
    """Run a command to its end; returns its exit code."""
    child = forked(arguments, log)
    code = awaited(child, LONGEST_S)
    if code is None:
        kill(child)
        return -1
    return code


def import_what_it_did(log: Path) -> None:
    """Import what a command that ended by itself had imported, once instead of in every process."""
    for name in log.with_suffix(IMPORTED).read_text(encoding="utf-8").splitlines():
        if name not in sys.modules and not name.endswith("__main__"):
            with suppress(ImportError):
                import_module(name)


def kill(child: int) -> None:
    """Kill a process, and wait until it is gone."""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def killed(arguments: list[str], log: Path, after_s: float) -> int | None:
    """Run a command and kill it after some time; returns its exit code if it had ended before."""
    child = forked(arguments, log)
    code = awaited(child, after_s)
    if code is None:
        kill(child)
    return code


def last_line(log: Path) -> str:
    """Return the last line that a command printed."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
