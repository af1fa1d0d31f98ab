"""Run `loomsight service`: print the systemd unit."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Run loomsight as a systemd service.",
)


@app.callback()
def service() -> None:
    """Run loomsight as a systemd service."""


@app.command("print")
def print_unit(
    config: Annotated[Path, typer.Option(help="Settings of the device, absolute.")] = Path(
        "/etc/loomsight/box.toml"
    ),
    program: Annotated[
        Path | None, typer.Option(help="edge-run, absolute  [default: the one beside this program]")
    ] = None,
    user: Annotated[str, typer.Option(help="User to run as.")] = "loomsight",
    watchdog_s: Annotated[
        int, typer.Option(min=0, help="Restart when no frame is finished for so long; 0: never.")
    ] = 120,
) -> None:
    """Print a unit file for /etc/systemd/system/loomsight.service."""
    from edge.health.service import unit_text

    beside = Path(sys.executable).with_name("edge-run")
    found = beside if beside.exists() else Path(shutil.which("edge-run") or beside)
    typer.echo(unit_text(program or found, config, user, watchdog_s), nl=False)
