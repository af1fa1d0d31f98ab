"""Run `loomsight simulate`: its settings have their defaults in `edge.dataset.options`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from edge.core.counted import counted
from edge.process.console import command_app, configure_logging
from edge.process.terminal import as_cell

app = command_app()


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="Folder to write; it must not exist, or be empty.")],
    on: Annotated[
        Path | None,
        typer.Option(help="Folder of real clean images to plant the defects in.  [default: woven cloth]"),
    ] = None,
    images: Annotated[int | None, typer.Option(help="Images over all splits.")] = None,
    split: Annotated[str | None, typer.Option(help="Fractions, e.g. train=0.8,val=0.1,test=0.1")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same images.")] = None,
    size_hw: Annotated[tuple[int, int] | None, typer.Option(help="Height and width in pixels.")] = None,
    mm_per_px: Annotated[float | None, typer.Option(help="Millimetres of cloth per pixel.")] = None,
    look: Annotated[str | None, typer.Option(help="drawn, woven or both  [default: drawn]")] = None,
    weave: Annotated[str | None, typer.Option(help="plain, twill or satin  [default: all]")] = None,
    pattern: Annotated[
        str | None, typer.Option(help="solid, stripes or checks, of look woven  [default: all]")
    ] = None,
    warp_pitch_px: Annotated[float | None, typer.Option(help="Pixels per end  [default: any]")] = None,
    weft_pitch_px: Annotated[float | None, typer.Option(help="Pixels per pick  [default: any]")] = None,
    mean_grey: Annotated[float | None, typer.Option(help="Brightness of the cloth  [default: any]")] = None,
    article_share: Annotated[
        float | None,
        typer.Option(help="Fraction of images with that weave, pitch and grey; others are free."),
    ] = None,
    colour: Annotated[bool | None, typer.Option("--colour", help="Coloured cloth.")] = None,
    difficulty: Annotated[list[str] | None, typer.Option(help="Repeat for several  [default: all]")] = None,
    category: Annotated[list[str] | None, typer.Option(help="Repeat for several  [default: all]")] = None,
    defect_share: Annotated[float | None, typer.Option(help="Fraction of images with defects.")] = None,
    defects_per_m: Annotated[float | None, typer.Option(help="Per metre of roll, in those.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes.")] = None,
    taxonomy: Annotated[Path | None, typer.Option(help="Taxonomy file  [default: the shipped one]")] = None,
) -> None:
    """Write a data set of simulated or clean cloth with planted defects, in YOLO and COCO form, with exact
    ground truth.
    """
    settings = {
        "on": on,
        "images": images,
        "split": split,
        "seed": seed,
        "size_hw": size_hw,
        "mm_per_px": mm_per_px,
        "look": look,
        "weave": weave,
        "pattern": pattern,
        "warp_pitch_px": warp_pitch_px,
        "weft_pitch_px": weft_pitch_px,
        "mean_grey": mean_grey,
        "article_share": article_share,
        "colour": colour,
        "defect_share": defect_share,
        "defects_per_m": defects_per_m,
        "workers": workers,
        "difficulties": difficulty or None,
        "categories": category or None,
    }
    configure_logging()
    simulate_dataset(out, settings, taxonomy)


def simulate_dataset(out: Path, settings: Mapping[str, object], taxonomy_file: Path | None = None) -> None:
    """Write a data set with a progress bar, and print where it is.

    Args:
        out: folder that does not exist or is empty.
        settings: fields of `DatasetOptions`; None means not given. `split` is text.
        taxonomy_file: of the mill; None for the shipped one.
    Raises:
        ConfigError: naming the setting that is wrong and what is permitted.
        OutputError: if the folder holds something or cannot be written.
    """
    from edge.core.taxonomy import load_taxonomy
    from edge.dataset.options import parse_split, validated_dataset_options
    from edge.dataset.writing import write_dataset

    given = {name: value for name, value in settings.items() if value is not None}
    if "split" in given:
        given["split"] = parse_split(str(given["split"]))
    options = validated_dataset_options(given, "simulate")
    taxonomy = load_taxonomy(taxonomy_file)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("weaving", total=options.images)
        summary = write_dataset(
            out, options, taxonomy, on_progress=lambda done, _: progress.update(task, completed=done)
        )
    console = Console()
    for split, count in summary.images.items():
        defects = ", ".join(f"{number} {name}" for name, number in summary.defects[split].items())
        console.print(f"{split}: {counted(count, 'image')}, {defects or 'no defects'}", highlight=False)
    console.print(as_cell(f"data set in {out}"), highlight=False, soft_wrap=True)
