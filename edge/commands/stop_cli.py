"""Run `loomsight stop`: let an electrician check the wiring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.process.console import command_app, configure_logging
from edge.process.terminal import echo

if TYPE_CHECKING:
    from edge.config.device import CameraSettings

app = command_app("Check that this device can stop the machine.")

ConfigFlag = Annotated[Path | None, typer.Option(help="Settings as TOML, with a table [machine].")]
OnlyFlag = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of the cameras in the file, this one's machine.")
]


@app.command()
def probe(config: ConfigFlag = None, only: OnlyFlag = None) -> None:
    """See whether the machine can be reached; nothing is written to it."""
    configure_logging()
    from edge.config.device import config_from_process
    from edge.machine.trial import probe_machine

    echo(probe_machine(config_from_process(config, {}, only).machine))


@app.command("test")
def fire(
    config: ConfigFlag = None,
    only: OnlyFlag = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Stop the machine. Without it nothing is sent.")
    ] = False,
) -> None:
    """Give the signal to stop once, as edge-run would, and say how long it took."""
    configure_logging()
    from edge.config.device import box_from_process, config_from_process
    from edge.core.errors import MachineError
    from edge.machine.trial import fire_once

    settings = config_from_process(config, {}, only).machine
    try:
        done = fire_once(settings, is_meant=yes)
    except MachineError as error:
        _note_test(box_from_process(config, {}, only), settings.kind, str(error))
        raise
    _note_test(box_from_process(config, {}, only), settings.kind, done)
    echo(done)


def _note_test(cameras: Sequence[CameraSettings], machine: str | None, result: str) -> None:
    from edge.commands.audit_notes import note_command

    note_command(cameras, "stop tested", machine=machine, camera=cameras[0].name, result=result)
