"""Run `loomsight agent`: bring this device to what the office releases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.process.console import command_app, configure_logging
from edge.process.terminal import echo

app = command_app("Fetch the bundles and article files that the office releases.")


@app.command()
def agent(
    config: Annotated[Path | None, typer.Option(help="Settings of edge-run as TOML, with [agent].")] = None,
    once: Annotated[bool, typer.Option("--once", help="Look at the list once, and end.")] = False,
) -> None:
    """Fetch what the office releases for the looms of this device, until a signal ends it."""
    configure_logging()
    from contextlib import ExitStack

    from edge.agent.running import agent_of, run_agent
    from edge.bundle.opening import Bundle
    from edge.config.device import box_from_process
    from edge.inference.model import open_model

    cameras = box_from_process(config, {})

    def check(bundle: Bundle) -> None:
        with ExitStack() as stack:
            open_model(cameras[0].config.changed(model=bundle.path, score_thresholds={}), stack)

    settings, found = agent_of(cameras, check)
    if not once:
        run_agent(settings, found)
        return
    found.look()
    for problem in found.problems[:1]:
        raise problem
    echo("all is as the list of releases says")
