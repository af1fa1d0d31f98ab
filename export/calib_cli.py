"""Run `loomsight calib`: add, check and judge the images that INT8 is calibrated on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.core.counted import counted
from edge.process.console import configure_logging
from edge.process.terminal import echo

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Add, check and judge the images that INT8 models are calibrated on.",
)

FolderArgument = Annotated[Path, typer.Argument(help="Calibration folder.")]


@app.command()
def add(
    folder: FolderArgument,
    images: Annotated[Path, typer.Argument(help="Data set folder, folder of images, or an image.")],
    source: Annotated[str, typer.Option(help="Where they come from: camera, mill, date.")],
    licence: Annotated[str, typer.Option(help="Who may use them for what.")],
    most: Annotated[int, typer.Option(min=1, help="So many images at most.")] = 32,
    mm_per_px: Annotated[
        float | None, typer.Option(min=0.001, help="Millimetres of cloth per pixel.")
    ] = None,
) -> None:
    """Copy images into a calibration folder and declare digest, source, licence and classes of each."""
    configure_logging()
    from export.calibration_add import ImageOrigin, add_images

    manifest = add_images(folder, images, most, ImageOrigin(source, licence, mm_per_px))
    echo(f"{folder}: {counted(len(manifest.images), 'image')}, {_coverage(manifest.class_coverage)}")


@app.command()
def check(
    folder: Annotated[Path | None, typer.Argument(help="[default: the shipped one]")] = None,
) -> None:
    """See that every declared image is there, unchanged, readable and of cloth, and no other."""
    configure_logging()
    from export.calibration_set import check_calibration, shipped_calibration

    checked = folder or shipped_calibration()
    manifest = check_calibration(checked)
    echo(f"{checked}: {counted(len(manifest.images), 'image')} whole, {_coverage(manifest.class_coverage)}")
    for licence in sorted({one.licence for one in manifest.images}):
        echo(f"licence: {licence}")


@app.command()
def report(
    checkpoint: Annotated[Path, typer.Argument(help="A best.pt made by distill or prune.")],
    data: Annotated[Path, typer.Option(help="Data set folder; its val split is compared with.")],
    calibration: Annotated[Path | None, typer.Option(help="[default: the shipped one]")] = None,
    worst: Annotated[int, typer.Option(min=1, help="Rows to print.")] = 10,
) -> None:
    """Say how well calibration images stand for a data set: the ranges of activations on both."""
    configure_logging()
    from export.calibration_report import compare_ranges, print_report
    from export.calibration_set import shipped_calibration

    print_report(compare_ranges(checkpoint, data, calibration or shipped_calibration()), worst)


def _coverage(classes: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in classes.items())
