"""Run `loomsight anchors`: compute anchors for the coupled head from the boxes of a data set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from distill.commands.options import DatasetArgument, TaxonomyFlag, new_app
from distill.core.stopping import said_when_stopped, whole_or_nothing
from edge.core.counted import counted
from edge.core.errors import ConfigError, DatasetError
from edge.core.files import check_not_a_folder, check_writable
from edge.core.taxonomy import load_taxonomy
from edge.process.console import configure_logging, run_command
from edge.process.terminal import echo

LONGEST_ELBOW = 12
"""Fits that are shown at least, if there are so many different boxes."""

app = new_app()


@app.command()
@said_when_stopped(whole_or_nothing)
def anchors(
    dataset: DatasetArgument,
    recipe: Annotated[
        str, typer.Option(help="Shipped recipe or TOML file: its tiles are what counts.")
    ] = "smoke",
    count: Annotated[
        int, typer.Option(min=1, max=90, help="How many anchors; the coupled head wants a multiple of 3.")
    ] = 9,
    out: Annotated[Path, typer.Option(help="What to write; the plot goes beside it as .png.")] = Path(
        "anchors.json"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Of the starts of k-means.")] = 0,
    taxonomy: TaxonomyFlag = None,
) -> None:
    """Find anchors that fit the boxes of a data set, cut to tiles as for training.

    Prints how well 1, 2, ... anchors fit; writes --count of them, for `anchors` of a recipe, and a plot.
    """
    configure_logging()
    check_not_a_folder(out)
    plot = out.with_suffix(".png")
    if plot == out:
        raise ConfigError(f"{out} is where the plot goes.", "Name a .json file.")
    check_writable(out.parent)
    # Imports stand here because torch takes seconds: --help and most mistakes are answered without it.
    from distill.data.dataset import load_dataset
    from distill.settings.recipe import load_recipe

    settings = load_recipe(recipe, os.environ, {})
    classes = load_taxonomy(taxonomy)
    data = load_dataset(dataset, classes)

    import numpy as np

    from distill.data.tiles import TilePlan, tile_sides
    from distill.detector.anchor_report import draw_elbow, elbow_table, write_anchors
    from distill.detector.anchors import elbow, fit_of
    from distill.settings.structure import YOLOV5_ANCHORS
    from distill.training.train import contract_for
    from edge.process.whole_table import wide_console

    contract = contract_for(settings, classes, data.mm_per_px)
    sides = tile_sides(TilePlan(data.train, contract, data.mm_per_px, cache_mb=0))
    if not len(sides):
        raise DatasetError(f"{dataset} shows no defect to train on.", "Name a data set with boxes.")
    fits = elbow(sides, max(count, LONGEST_ELBOW), seed)
    if len(fits) < count:
        raise DatasetError(
            f"{dataset} has {len(fits)} different boxes, too few for {count} anchors.",
            f"Ask for --count {len(fits)} or fewer, or name a larger data set.",
        )
    chosen = fits[count - 1]
    about = {
        "boxes": len(sides),
        "input_size_hw_px": list(contract.input_size_hw_px),
        "mm_per_px": contract.mm_per_px,
        "seed": seed,
    }
    write_anchors(out, chosen, fits, about)
    draw_elbow(fits, chosen, plot)
    wide_console().print(elbow_table(fits, fit_of(sides, np.array(YOLOV5_ANCHORS, np.float64))))
    echo(f"boxes    {len(sides)} in {counted(len(data.train), 'image')}")
    echo(f"anchors  {out}")
    echo(f"plot     {plot}")


if __name__ == "__main__":
    run_command(app)
