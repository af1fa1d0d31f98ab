"""Run `edge-doctor`: a report on this device, or an engine for its GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from edge.commands.flags import VerboseFlag
from edge.core.errors import ConfigError
from edge.process.console import command_app, configure_logging, run_command

app = command_app()


@app.command()
def edge_doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
    no_measure: Annotated[
        bool, typer.Option("--no-measure", help="Do not time the network: some seconds less.")
    ] = False,
    build: Annotated[
        bool, typer.Option("--build", help="Build a TensorRT engine instead, for the GPU of this device.")
    ] = False,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Of what: bundle folder, store, or ONNX file  [default: the shipped demo bundle]"
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="f32, f16 or int8  [default: the lowest the bundle has]")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Most tiles given to the network at once  [default: 16]")
    ] = None,
    fixed_batch: Annotated[
        bool | None, typer.Option("--fixed-batch", help="Always just so many: faster, if it fits.")
    ] = None,
    targets: Annotated[
        list[str] | None,
        typer.Option("--for", help="Build for other GPUs, e.g. sm86; repeat; needs tensorrt-rtx."),
    ] = None,
    verbose: VerboseFlag = False,
) -> None:
    """Say what this device has, and what to do about what it lacks; or build an engine for its GPU."""
    if build:
        from edge.inference.engine_build import BuildRequest, build_engines

        configure_logging(verbose)
        build_engines(BuildRequest(model, precision, batch, bool(fixed_batch), tuple(targets or ())))
        return
    flags = {"model": model, "precision": precision, "batch": batch, "for": targets}
    flags["fixed-batch"] = fixed_batch
    given = [f"--{name}" for name, value in flags.items() if value is not None]
    if given:
        raise ConfigError(f"{', '.join(given)} wants --build.", "Add it, or leave the rest out.")
    from edge.commands.doctor import print_report

    if not print_report(as_json, is_measured=not no_measure):
        raise typer.Exit(1)


def main() -> NoReturn:
    """Entry point of `edge-doctor`."""
    run_command(app)
