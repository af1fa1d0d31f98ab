"""Begin a command so that a signal is a clean end from its first moment on, while modules are imported too.

This module imports nothing that takes time: `edge.process.console.run_command` takes over once it is
there. What the interpreter does before the first line of a program is not ours.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # `signal` takes longer than all of this
import os


def loomsight() -> None:
    """Entry point of `loomsight`."""
    begin("edge.commands.loomsight", "main")


def edge_run() -> None:
    """Entry point of `edge-run`."""
    begin("edge.commands.run_cli", "main")


def edge_bench() -> None:
    """Entry point of `edge-bench`."""
    begin("edge.commands.bench_cli", "main")


def edge_doctor() -> None:
    """Entry point of `edge-doctor`."""
    begin("edge.commands.doctor_cli", "main")


def begin(module: str, function: str) -> None:
    """Call a command's entry point; what that imports takes longest."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` means that
            signal.signal(number, _leave)
    from importlib import import_module

    getattr(import_module(module), function)()


def _leave(number: int, frame: object) -> None:
    """Leave at once: nothing is started yet, or all is done."""
    try:
        os.write(2, b"interrupted\n")
    finally:
        os._exit(128 + number)
