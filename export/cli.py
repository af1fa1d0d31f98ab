"""Run the `export` command: make a checked bundle of a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from edge.core.errors import ConfigError
from edge.core.taxonomy import load_taxonomy
from edge.process.console import configure_logging, run_command
from edge.process.terminal import echo
from export.stopping import bundle_whole_or_not

if TYPE_CHECKING:
    from export.quality import QualityRow

METHOD_NAMES = ("minmax", "percentile", "entropy")


class DecodePlace(str, Enum):
    """Name where the head's outputs are decoded to boxes and scores."""

    graph = "graph"
    edge = "edge"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A best.pt made by distill.")],
    images: Annotated[Path, typer.Option(help="Folder of real images of cloth, to compare the models on.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")],
    threshold: Annotated[
        list[str] | None,
        typer.Option(help="class=score in place of what training chose; repeat for several classes."),
    ] = None,
    float16_weights: Annotated[
        bool, typer.Option("--float16-weights", help="Half the file; the network computes in float32.")
    ] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Add an INT8 variant; needs --data.")] = False,
    f16: Annotated[bool, typer.Option("--f16", help="Add a float16 variant; needs --data.")] = False,
    data: Annotated[
        Path | None, typer.Option(help="Data set folder; its val split says what each model loses.")
    ] = None,
    strips: Annotated[
        Path | None,
        typer.Option(help="Data set folder of real strips; --max-drop holds on its val split, too."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Folder of calibration images  [default: the shipped simulated cloth]"),
    ] = None,
    calibration_method: Annotated[
        list[str] | None,
        typer.Option(
            help="minmax, percentile or entropy; repeat to compare  [default: minmax, percentile]"
        ),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            help="Compute capability to build a TensorRT-RTX engine for, as sm86; repeat for several."
        ),
    ] = None,
    batch: Annotated[
        str,
        typer.Option(metavar="dynamic|N", help="Tiles the models take at once: any number, or N alone."),
    ] = "dynamic",
    decode: Annotated[
        DecodePlace, typer.Option(help="Where boxes and scores are made of what the head gives.")
    ] = DecodePlace.graph,
    max_drop: Annotated[
        float, typer.Option(min=0, max=100, help="Most points of mAP50-95 any model may lose.")
    ] = 0.5,
    taxonomy: Annotated[
        Path | None,
        typer.Option(help="Taxonomy file of --data and --strips  [default: the shipped one]"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle at --out.")] = False,
) -> None:
    """Make a bundle of a checkpoint: what a device beside a loom runs.

    The exported model is compared with the checkpoint on real images first; if it differs, or a variant
    loses more than --max-drop, nothing is published.
    """
    configure_logging()
    thresholds = parse_thresholds(threshold or [])
    methods = parse_methods(calibration_method or [])
    fixed_batch = parse_batch(batch)
    with bundle_whole_or_not(out):
        from distill.checkpoint import PAGE_NAME  # here, so that --help needs no torch
        from export.int8 import Int8Options
        from export.page import parity_words
        from export.publish import export_bundle
        from export.results import next_command
        from export.variants import VariantOptions

        drop = max_drop / 100
        changes = {"methods": methods} if methods else {}
        begin_s = time.monotonic()
        published = export_bundle(
            checkpoint,
            images,
            out,
            score_thresholds=thresholds,
            float16_weights=float16_weights,
            variants=VariantOptions(
                float16=f16,
                int8=Int8Options.model_validate({"max_drop": drop, **changes}) if int8 else None,
                data=data,
                strips=strips,
                taxonomy=None if taxonomy is None else load_taxonomy(taxonomy),
                calibration=calibration,
                max_drop=drop,
            ),
            engines_for=engine or (),
            batch=fixed_batch,
            decode_at_edge=decode is DecodePlace.edge,
            overwrite=overwrite,
        )
        echo(f"bundle     {published.bundle}")
        echo(f"scorecard  {published.scorecard or 'in the bundle only'}")
        echo(f"page       {published.bundle / PAGE_NAME}")
        echo(f"parity     {parity_words(published.parity)}")
        print_quality(published.quality)
        for name in published.engines:
            echo(f"engine     {name}")
        echo(f"made in    {time.monotonic() - begin_s:.0f} s")
        for line in published.results:
            echo(f"result     {line}")
        echo(f"next       {next_command(published.bundle, images)}")


def print_quality(rows: Sequence[QualityRow]) -> None:
    """Print what each model of a bundle gives on each runtime."""
    from edge.commands.bundle_report import models_table
    from edge.process.whole_table import wide_console

    wide_console().print(models_table([row.model_dump(mode="json") for row in rows]))


def parse_methods(names: list[str]) -> tuple[str, ...]:
    """Read names of calibration methods.

    Raises:
        ConfigError: if one is unknown.
    """
    for name in names:
        if name not in METHOD_NAMES:
            raise ConfigError(
                f"There is no calibration method '{name}'.", f"Use {', '.join(METHOD_NAMES)}."
            )
    return tuple(dict.fromkeys(names))


def parse_batch(text: str) -> int | None:
    """Read how many tiles a model takes at once; None for any number.

    Raises:
        ConfigError: if it is neither `dynamic` nor a number from 1 to 256.
    """
    if text == "dynamic":
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 256):
        raise ConfigError(f"--batch {text} is not permitted.", "Write dynamic, or a number from 1 to 256.")
    return int(text)


def parse_thresholds(texts: list[str]) -> dict[str, float]:
    """Read `class=score` pairs.

    Raises:
        ConfigError: if one is not of that form or its score is outside 0..1.
    """
    thresholds = {}
    for text in texts:
        name, _, score = text.partition("=")
        try:
            thresholds[name] = float(score)
        except ValueError:
            thresholds[name] = -1.0
        if not 0 <= thresholds[name] <= 1:
            raise ConfigError(f"--threshold {text} is not a class and a score.", "Write drop=0.4, 0 to 1.")
    return thresholds


def main() -> NoReturn:
    """Run the command and leave with its exit code."""
    run_command(app)


if __name__ == "__main__":
    main()
