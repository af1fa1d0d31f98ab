"""The command `loomsight`: lists all commands and hands over to one of them."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final, NamedTuple

from edge import __version__
from edge.process.console import run_command


class Command(NamedTuple):
    """Name a command's entry point without importing it."""

    module: str
    function: str
    summary: str


COMMANDS: Final[dict[str, Command]] = {
    "simulate": Command(
        "edge.commands.cli", "simulate_app", "write a data set of simulated cloth with exact truth"
    ),
    "labels": Command(
        "distill.commands.labels_cli", "app", "convert, check, count, split and flip labelled pictures"
    ),
    "pseudo-label": Command(
        "distill.commands.pseudo_label_cli",
        "command",
        "label pictures by several annotators, for distill and review",
    ),
    "review": Command("distill.commands.review_cli", "app", "decide about pseudo-labels on a local page"),
    "teacher": Command(
        "distill.commands.teacher_cli", "app", "fine-tune the labelling teacher, and ask it about pictures"
    ),
    "sam": Command(
        "distill.commands.sam_cli", "app", "teach a SAM the mill's defects, give boxes outlines"
    ),
    "anchors": Command(
        "distill.commands.anchors_cli", "app", "find anchors that fit the boxes of a data set"
    ),
    "distill": Command("distill.commands.distill_cli", "app", "train a detector on a data set folder"),
    "prune": Command(
        "distill.commands.prune_cli", "app", "make a trained detector smaller, and let it recover"
    ),
    "scorecard": Command("distill.commands.scorecard_cli", "app", "print and plot models side by side"),
    "export": Command("export.cli", "app", "make a checked bundle of a checkpoint"),
    "calib": Command("export.calib_cli", "app", "add and judge the pictures that INT8 is calibrated on"),
    "bundle": Command("edge.commands.bundle_cli", "app", "verify, install, roll back and show bundles"),
    "teach": Command(
        "edge.commands.teach_cli", "app", "learn an article from clean cloth, promise a rate of alarms"
    ),
    "edge-run": Command("edge.commands.cli", "run_app", "find defects in what a camera delivers"),
    "roll": Command("edge.commands.roll_cli", "app", "list, show, report and export recorded rolls"),
    "stop": Command("edge.commands.stop_cli", "app", "check that this box can stop the machine"),
    "mqtt": Command("edge.commands.mqtt_cli", "app", "check the broker, print the schema of the messages"),
    "service": Command("edge.commands.service_cli", "app", "print a systemd unit for this box"),
    "edge-bench": Command("edge.commands.cli", "bench_app", "measure the loop against the bare engine"),
    "edge-doctor": Command("edge.commands.cli", "doctor_app", "say what this box has and lacks"),
}


def main() -> None:
    """Run `loomsight [COMMAND] [ARGUMENTS]`."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in {"--help", "-h", "help"}:
        run_command(lambda: print(overview()))
    elif name in {"--version", "version"}:
        run_command(lambda: print(f"loomsight {__version__}"))
    elif name in COMMANDS:
        _hand_over(name)
    else:
        sys.stderr.write(f"error: There is no command '{name}'. Use one of: {', '.join(COMMANDS)}.\n")
        sys.exit(2)


def overview() -> str:
    """Return the list of commands as it is printed."""
    rows = [f"  {name:<12} {command.summary}" for name, command in COMMANDS.items()]
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


def _hand_over(name: str) -> None:
    command = COMMANDS[name]
    sys.argv = [f"loomsight {name}", *sys.argv[2:]]
    run_command(lambda: getattr(import_module(command.module), command.function)())
