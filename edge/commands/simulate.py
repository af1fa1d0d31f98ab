"""Run `loomsight simulate`: settings in, a data set folder out."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from edge.core.taxonomy import load_taxonomy
from edge.dataset.options import DatasetOptions, parse_split, validated_dataset_options
from edge.dataset.writing import write_dataset
from edge.process.terminal import as_cell


def simulate_dataset(out: Path, settings: dict[str, object], taxonomy_file: Path | None = None) -> None:
    """Write a data set with a progress bar, and say where it is.

    Args:
        out: folder that does not exist or is empty.
        settings: fields of `DatasetOptions`; None means not given. `split` is text.
        taxonomy_file: of the mill; None for the shipped one.
    Raises:
        ConfigError: naming the setting that is wrong and what is permitted.
        OutputError: if the folder holds something or cannot be written.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if "split" in given:
        given["split"] = parse_split(str(given["split"]))
    options: DatasetOptions = validated_dataset_options(given, "simulate")
    taxonomy = load_taxonomy(taxonomy_file)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("weaving", total=options.images)
        summary = write_dataset(
            out, options, taxonomy, on_progress=lambda done, _: progress.update(task, completed=done)
        )
    console = Console()
    for split, count in summary.images.items():
        defects = ", ".join(f"{number} {name}" for name, number in summary.defects[split].items())
        console.print(f"{split}: {count} images, {defects or 'no defects'}", highlight=False)
    console.print(as_cell(f"data set in {out}"), highlight=False, soft_wrap=True)
