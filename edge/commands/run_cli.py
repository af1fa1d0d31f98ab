"""Run `edge-run`: its settings have their defaults in `edge.config.edge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from edge.commands.flags import (
    BackendFlag,
    CameraFlag,
    ClothFlag,
    CommandOfSettings,
    ConfigFlag,
    MmPerPxFlag,
    ModelFlag,
    OnlyFlag,
    PrecisionFlag,
    RollHeaderFlag,
    ThreadsFlag,
    VerboseFlag,
)
from edge.process.console import command_app, configure_logging, run_command

app = command_app()


@app.command(cls=CommandOfSettings)
def edge_run(
    camera: CameraFlag = None,
    model: ModelFlag = None,
    config: ConfigFlag = None,
    only: OnlyFlag = None,
    frames: Annotated[int | None, typer.Option(help="End after so many frames.")] = None,
    seconds: Annotated[float | None, typer.Option(help="End after so many seconds.")] = None,
    metres: Annotated[float | None, typer.Option(help="End after so many metres of cloth.")] = None,
    detections: Annotated[
        Path | None, typer.Option(help="Write detections as JSON lines, one a frame.")
    ] = None,
    summary: Annotated[Path | None, typer.Option(help="Write the summary as JSON.")] = None,
    save_pictures: Annotated[
        Path | None, typer.Option(help="Folder for images of frames with defects.")
    ] = None,
    record: Annotated[Path | None, typer.Option(help="New folder for the raw stream.")] = None,
    roll_record: Annotated[
        Path | None, typer.Option(help="SQLite file of rolls, defects, gaps and events.")
    ] = None,
    roll: Annotated[str | None, typer.Option(help="Name of the roll; one of that name goes on.")] = None,
    article: Annotated[str | None, typer.Option(help="Article of the cloth, for the record.")] = None,
    roll_header: RollHeaderFlag = None,
    reference: Annotated[Path | None, typer.Option(help="Article file of `loomsight teach`.")] = None,
    auto_teach: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Learn articles that nobody taught, into it.")
    ] = None,
    cloth_width_mm: Annotated[
        float | None, typer.Option(help="For grading, where no selvedges are known.")
    ] = None,
    stop: Annotated[
        str | None, typer.Option(help="Machine stop: on, off, shadow  [default: shadow]")
    ] = None,
    mqtt: Annotated[str | None, typer.Option(help="Send events of the roll record to this broker.")] = None,
    show: Annotated[bool | None, typer.Option("--show", help="Show a window with the boxes.")] = None,
    page: Annotated[
        str | None,
        typer.Option(metavar="[HOST:]PORT", help="Live page; without HOST for this device only."),
    ] = None,
    page_stays: Annotated[
        bool | None, typer.Option("--page-stays", help="Keep the page at the end, until Ctrl-C.")
    ] = None,
    mm_per_px: MmPerPxFlag = None,
    cloth: ClothFlag = None,
    backend: BackendFlag = None,
    precision: PrecisionFlag = None,
    threads: ThreadsFlag = None,
    verbose: VerboseFlag = False,
) -> None:
    """Find defects in what a camera delivers.

    Ends with the stream, at a limit, on Ctrl-C or SIGTERM, and prints what was found and inspected. A file
    with tables [cameras.NAME] runs several cameras; docs/settings.md has all settings.
    """
    flags = {
        "camera": camera,
        "model": model,
        "frames": frames,
        "seconds": seconds,
        "metres": metres,
        "detections": detections,
        "summary": summary,
        "save_pictures": save_pictures,
        "record": record,
        "roll_record": roll_record,
        "roll": roll,
        "article": article,
        "roll_header": roll_header or None,
        "reference": reference,
        "auto_teach": None if auto_teach is None else str(auto_teach),
        "cloth_width_mm": cloth_width_mm,
        "stop": stop,
        "mqtt": mqtt,
        "show": show,
        "page": page,
        "page_stays": page_stays,
        "mm_per_px": mm_per_px,
        "cloth": cloth,
        "backend": backend,
        "precision": precision,
        "threads": threads,
    }
    configure_logging(verbose)
    from edge.app.run import run_box
    from edge.config.device import box_from_process

    run_box(box_from_process(config, flags, only))


def main() -> NoReturn:
    """Entry point of `edge-run`."""
    run_command(app)
