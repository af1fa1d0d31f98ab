"""Run `edge-bench`: what it alone has (frames, rounds, pause) has its defaults here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from edge.commands.flags import (
    BackendFlag,
    BatchFlag,
    CameraFlag,
    ConfigFlag,
    MmPerPxFlag,
    ModelFlag,
    OnlyFlag,
    PrecisionFlag,
    ThreadsFlag,
)
from edge.process.console import command_app, configure_logging, run_command

app = command_app()


@app.command()
def edge_bench(
    camera: CameraFlag = None,
    model: ModelFlag = None,
    config: ConfigFlag = None,
    only: OnlyFlag = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames per round.")] = 40,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of loop and bare engine in turn.")] = 3,
    idle_seconds: Annotated[float, typer.Option(min=0, help="Pause before the after-idle frames.")] = 10.0,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the result as JSON."),
    ] = None,
    mm_per_px: MmPerPxFlag = None,
    batch_tiles: BatchFlag = None,
    backend: BackendFlag = None,
    precision: PrecisionFlag = None,
    threads: ThreadsFlag = None,
    lines: Annotated[
        bool,
        typer.Option(
            "--lines",
            help="State capacity in m/min instead, and the ratio in small turns; without --camera on a "
            "4096 px line camera and on 2048 x 1080 px frames.",
        ),
    ] = False,
    all_runtimes: Annotated[
        bool,
        typer.Option("--all-runtimes", help="Compare every backend and precision of this device instead."),
    ] = False,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="With --lines: article file of `loomsight teach`; the loop has turns with it, too."
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="With --all-runtimes: bundle whose float32 on ONNX Runtime is the reference."),
    ] = None,
) -> None:
    """Measure the loop of edge-run against the bare engine, in the same run, on the same frames."""
    configure_logging()
    from edge.bench.frames import bench
    from edge.config.device import config_from_process
    from edge.core.errors import ConfigError

    flags = {
        "camera": camera,
        "model": model,
        "mm_per_px": mm_per_px,
        "batch_tiles": batch_tiles,
        "backend": backend,
        "precision": precision,
        "threads": threads,
        "reference": reference,
    }
    resolved = config_from_process(config, flags, only)
    if reference is not None and not lines:
        raise ConfigError("--reference is for --lines.", "Add --lines, or leave it out.")
    if all_runtimes and lines:
        raise ConfigError("--lines and --all-runtimes are two benchmarks.", "Name one of them.")
    if all_runtimes:
        from edge.bench.runtimes import bench_runtimes

        bench_runtimes(resolved, against, frames=frames, rounds=rounds, json_file=json_file)
        return
    if against is not None:
        raise ConfigError("--against is for --all-runtimes.", "Add --all-runtimes, or leave it out.")
    if lines:
        from edge.bench.lines import bench_lines

        given = resolved.camera if "camera" in resolved.model_fields_set else None
        bench_lines(resolved, given, strips=frames, pairs=rounds, json_file=json_file)
        return
    bench(
        resolved,
        frames=frames,
        rounds=rounds,
        idle_seconds=idle_seconds,
        json_file=json_file,
    )


def main() -> NoReturn:
    """Entry point of `edge-bench`."""
    run_command(app)
