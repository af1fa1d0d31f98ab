"""Run the command `loomsight`: list all commands and hand over to one of them."""

from __future__ import annotations

import sys

from edge import __version__
from edge.commands import COMMANDS
from edge.process.commands import Command, announced_commands, commands_of, run_by_name
from edge.process.console import run_command


def main() -> None:
    """Run `loomsight [COMMAND] [ARGUMENTS]`."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in {"--help", "-h", "help"}:
        run_command(lambda: print(overview()))
    elif name in {"--version", "version"}:
        run_command(lambda: print(f"loomsight {__version__}"))
    commands = all_commands()
    if name in commands:
        run_by_name(name, sys.argv[2:], commands)
    sys.stderr.write(f"error: There is no command '{name}'. Use one of: {', '.join(commands)}.\n")
    sys.exit(2)


def all_commands() -> dict[str, Command]:
    """Return every command by name: those of the workbench first, as labels come before the loom."""
    return {**announced_commands(), **commands_of(COMMANDS)}


def overview() -> str:
    """Return the list of commands as it is printed."""
    rows = [f"  {name:<12} {command.summary}" for name, command in all_commands().items()]
    return "\n".join(
        [
            "Usage: loomsight COMMAND [ARGUMENTS]",
            "",
            "Finds broken yarns, wrinkles and drops on moving cloth.",
            "",
            "Commands:",
            *rows,
            "",
            "`loomsight COMMAND --help` explains a command.",
        ]
    )
