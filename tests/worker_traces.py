"""Keep the trace of a test process that dies: which test it ran, and where every thread stood.

pytest-xdist says of such a worker only that it was not properly terminated. Each writes to a file of its
own below `runs/tests/`; that of a worker that ends well is removed, that of another is printed and stays.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import traceback
from pathlib import Path
from typing import Any, TextIO

import pytest

TRACES = Path("runs") / "tests"

_open: dict[str, TextIO] = {}
"""The file of this worker, by its name: the operating system's handle has to stay open until the end."""


def trace_file(config: pytest.Config, worker: str) -> Path:
    """Return where a worker of this run leaves its trace."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")[:12]
    return config.rootpath / TRACES / f"{run}-{worker}.txt"


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Let a worker write what ends it to its file, in place of a stream that is gone by then."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        return
    file = trace_file(session.config, worker)
    file.parent.mkdir(parents=True, exist_ok=True)
    _open[worker] = stream = file.open("w", encoding="utf-8")
    faulthandler.enable(stream, all_threads=True)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):  # they end a worker without a word
        faulthandler.register(number, stream, all_threads=True, chain=True)


def pytest_runtest_logstart(nodeid: str) -> None:
    """Note which test is run: the last one noted is the one that the worker died in."""
    for stream in _open.values():
        stream.seek(0)
        stream.truncate()
        stream.write(f"{nodeid}\n")
        stream.flush()


def pytest_keyboard_interrupt(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Write down where a Ctrl-C hit that no test caught: it ends a worker without a word."""
    for stream in _open.values():
        traceback.print_exception(excinfo.value, file=stream)
        stream.flush()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remove the file of a worker that was not interrupted."""
    if exitstatus == pytest.ExitCode.INTERRUPTED:
        return
    for worker, stream in _open.items():
        faulthandler.disable()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            faulthandler.unregister(number)
        stream.close()
        trace_file(session.config, worker).unlink(missing_ok=True)
    _open.clear()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Print what a worker that died has left."""
    file = node.config.rootpath / TRACES / f"{node.workerinput['testrunuid'][:12]}-{node.gateway.id}.txt"
    if error and file.is_file():
        left = file.read_text(encoding="utf-8")
        print(f"\n{node.gateway.id} died ({error}, {_end_of(node)}); {file}:\n{left}", flush=True)


def _end_of(node: Any) -> str:
    """Say how the process of a worker ended: an exit code, or minus the number of a signal."""
    try:
        return f"exit code {node.gateway._io.popen.wait(timeout=2)}"
    except (AttributeError, subprocess.TimeoutExpired) as unknown:
        return f"exit code unknown: {unknown}"
