"""Run `loomsight mqtt`: check the broker, print what messages look like."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from edge.process.console import command_app, configure_logging
from edge.process.terminal import echo

app = command_app("Check the broker of edge-run --mqtt, and print the schema of its messages.")


@app.command()
def check(
    config: Annotated[Path | None, typer.Option(help="Settings as TOML, with a table [mqtt].")] = None,
    mqtt: Annotated[str | None, typer.Option(help="Broker, e.g. mqtts://10.0.0.9")] = None,
    only: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the cameras in the file, this one.")
    ] = None,
    publish: Annotated[
        bool, typer.Option("--publish/--no-publish", help="Publish a message on each topic of a run.")
    ] = True,
) -> None:
    """Log in to the broker as edge-run would, and try each topic of a run. A run beside it goes on."""
    configure_logging()
    from edge.config.device import config_from_process
    from edge.config.mqtt import password_of
    from edge.core.errors import ConfigError
    from edge.mqtt.check import check_broker

    settings = config_from_process(config, {"mqtt": mqtt}, only).mqtt
    if settings.broker is None:
        raise ConfigError("No broker is named.", "Add --mqtt, or a table [mqtt] to the file of --config.")
    echo(check_broker(settings, password_of(settings, os.environ), publishes=publish))


@app.command()
def schema() -> None:
    """Print the JSON schema of each message, by the last part of its topic."""
    from edge.mqtt.messages import MESSAGES

    echo(json.dumps({topic: kind.model_json_schema() for topic, kind in MESSAGES.items()}, indent=1))
