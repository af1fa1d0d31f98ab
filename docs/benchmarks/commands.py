"""Run the project's commands from a benchmark."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

BENCHMARKS = Path(__file__).parent
LOOMSIGHT = "from edge.commands.entry import loomsight; loomsight()"
"""As the installed command begins: a signal while modules are imported is a clean end."""


def run_all(jobs: Iterable[Callable[[], object]], at_once: int) -> None:
    """Do jobs, several at once; after one that failed no other is started.

    Raises:
        Exception: what the first that failed raised.
    """
    with ThreadPoolExecutor(at_once) as pool:
        for work in as_completed([pool.submit(job) for job in jobs]):
            if work.exception() is not None:
                pool.shutdown(wait=False, cancel_futures=True)
            work.result()


def loomsight(folder: Path, *arguments: str, log: Path | None = None) -> None:
    """Run a command of `loomsight` in a folder.

    Args:
        log: file that gets what it says; None shows it.
    Raises:
        subprocess.CalledProcessError: if it fails.
    """
    python(folder, LOOMSIGHT, *arguments, log=log)


def python(folder: Path, code: str, *arguments: str, log: Path | None = None) -> None:
    """Run a line of Python as `loomsight` is run."""
    process = start(folder, code, *arguments, log=log)
    try:
        status = process.wait()
    except BaseException:  # Ctrl-C reaches the command, too: let it save
        process.wait()
        raise
    if status:
        raise subprocess.CalledProcessError(status, process.args)


def start(folder: Path, code: str, *arguments: str, log: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a line of Python; it can import the project and what lies beside the benchmarks."""
    paths = [str(BENCHMARKS.parents[1]), str(BENCHMARKS), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-c", code, *arguments]
    if log is None:
        return subprocess.Popen(command, cwd=folder, env=environment)
    with log.open("a", encoding="utf-8") as stream:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=stream, stderr=stream)
