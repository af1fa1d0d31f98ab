"""Commands by name: what packages announce as entry points, found without importing what they do."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import Final, NamedTuple, NoReturn

from edge.process.console import run_command
from edge.process.terminal import say

GROUP: Final = "loomsight.commands"
"""Entry points: each leads to a dictionary, from a command's name to its application and one line on it."""

START: Final = "from edge.process.commands import start; start({parent})"
"""Program of a process of its own that runs one announced command; its name and arguments follow. `parent`
is the id of the process that starts it."""

PR_SET_PDEATHSIG: Final = 1
"""Of prctl(2): the signal that a process gets when the thread that started it ends."""


class Command(NamedTuple):
    """Name a command's application without importing it.

    Attributes:
        application: `module:name` of its Typer application.
        summary: one line for the list of commands.
    """

    application: str
    summary: str

    def load(self) -> Callable[[], object]:
        """Import the application.

        Raises:
            ImportError: if a package it needs is not installed.
        """
        loaded: Callable[[], object] = resolve_name(self.application)
        return loaded


def commands_of(announced: Mapping[str, tuple[str, str]]) -> dict[str, Command]:
    """Return the commands that a package's dictionary announces."""
    return {name: Command(*command) for name, command in announced.items()}


def announced_commands() -> dict[str, Command]:
    """Return the commands of all installed packages; one whose dictionary cannot be read is skipped."""
    from importlib.metadata import entry_points  # takes as long as all else that a list of commands needs

    found: dict[str, Command] = {}
    for point in sorted(entry_points(group=GROUP)):
        try:
            found |= commands_of(point.load())
        except (ImportError, AttributeError, TypeError) as error:
            say(f"The commands of {point.value} are skipped: {error}.")
    return found


def run_by_name(name: str, arguments: list[str], commands: Mapping[str, Command]) -> NoReturn:
    """Run a command as `loomsight NAME ARGUMENTS`, and leave with its exit code."""
    sys.argv = [f"loomsight {name}", *arguments]
    run_command(lambda: commands[name].load()())


def start(parent: int) -> None:
    """Run the announced command that the arguments of this process name; end it when its parent ends."""
    end_with(parent)
    run_by_name(sys.argv[1], sys.argv[2:], announced_commands())


def end_with(parent: int) -> None:
    """Let this process be asked to end (SIGTERM) as soon as the one that started it is gone (Linux).

    Args:
        parent: id of the process that started this one.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is None:
        return
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before
        signal.raise_signal(signal.SIGTERM)
