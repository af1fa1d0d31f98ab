"""Run `loomsight service`: print the systemd unit."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from edge.core.errors import ConfigError
from edge.process.console import command_app

app = command_app("Run loomsight as a systemd service.")

UNIT = Path(__file__).with_name("loomsight.service")
AGENT_UNIT = Path(__file__).with_name("loomsight-agent.service")


@app.callback()
def service() -> None:
    """Run loomsight as a systemd service."""


@app.command("print")
def print_unit(
    config: Annotated[Path, typer.Option(help="Settings of the device, absolute.")] = Path(
        "/etc/loomsight/box.toml"
    ),
    program: Annotated[
        Path | None,
        typer.Option(
            help="edge-run, or loomsight with --agent, absolute  [default: the one beside this program]"
        ),
    ] = None,
    user: Annotated[str, typer.Option(help="User to run as.")] = "loomsight",
    watchdog_s: Annotated[
        int, typer.Option(min=0, help="Restart when no frame is finished for so long; 0: never.")
    ] = 120,
    agent: Annotated[
        bool,
        typer.Option(
            "--agent", help="Print the unit of `loomsight agent`, for loomsight-agent.service beside it."
        ),
    ] = False,
) -> None:
    """Print a unit file for /etc/systemd/system/loomsight.service."""
    unit = AGENT_UNIT if agent else UNIT
    found = program or _beside("loomsight" if agent else "edge-run")
    typer.echo(unit_text(found, config, user, watchdog_s, unit), nl=False)


def _beside(name: str) -> Path:
    """Return a program of this installation; one of the PATH if there is none."""
    beside = Path(sys.executable).with_name(name)
    return beside if beside.exists() else Path(shutil.which(name) or beside)


def unit_text(program: Path, config: Path, user: str, watchdog_s: int, unit: Path = UNIT) -> str:
    """Return a unit with its places filled in.

    Args:
        program: what it starts, absolute.
        config: settings of the device, absolute.
        user: to run as.
        watchdog_s: 0 for no watchdog; the agent has none.
        unit: to fill in.
    Raises:
        ConfigError: if a path is not absolute, or systemd would read it or the user in another way.
    """
    for path in (program, config):
        if not path.is_absolute() or not re.fullmatch(r"[\w/.+@:-]+", str(path)):
            raise ConfigError(f"{path} cannot stand in a unit.", "Name an absolute path without spaces.")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}|[0-9]{1,9}", user):
        raise ConfigError(
            f"{user!r} cannot be a user in a unit.", "Name a user of this system, in letters and digits."
        )
    text = unit.read_text(encoding="utf-8")
    places = {
        "PROGRAM": quote(str(program)),
        "CONFIG": quote(str(config)),
        "USER": user,
        "WATCHDOG": str(watchdog_s),
    }
    return re.sub(r"\{(\w+)\}", lambda place: places[place[1]], text)
