"""Run the `labels` command: convert, check, count, split and flip labelled images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distill.commands.options import GroupFlag, MmPerPxFlag, TaxonomyFlag, new_app, say_problems
from distill.core.stopping import said_when_stopped, whole_or_nothing
from distill.labels.formats.registry import FORMATS, READERS, detect, format_of, read_labels
from edge.core.errors import ConfigError, DatasetError
from edge.process.console import configure_logging, run_command
from edge.process.terminal import echo, json_text

if TYPE_CHECKING:
    from distill.labels.sets.annotations import LabelSet, WrittenLabels
    from distill.labels.sets.sharing import SharingOptions

    Form = str
    SourceForm = str
else:
    Form = Enum("Form", {name: name for name in FORMATS}, type=str)
    SourceForm = Enum("SourceForm", {name: name for name in READERS}, type=str)


SourceArgument = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE", help="Labels: a file, a folder of XML files, a data set or a roll record."
    ),
]
OutFlag = Annotated[Path, typer.Option(help="What to write; it must not exist yet.")]
FromFlag = Annotated[SourceForm | None, typer.Option("--from", help="Form of SOURCE.  [default: look]")]
ImageFolderFlag = Annotated[
    Path | None, typer.Option("--pictures", help="Folder of the images.  [default: in or beside SOURCE]")
]
CleanFlag = Annotated[
    list[Path] | None, typer.Option(help="Folder of images without any defect; may be repeated.")
]
GroupTableFlag = Annotated[
    Path | None, typer.Option(help="CSV table with file_name and the roll or strip.")
]
GroupColumnFlag = Annotated[str | None, typer.Option(help="Column of that table.  [default: group]")]
SplitFlag = Annotated[
    str | None, typer.Option(help="Fractions of the splits.  [default: train=0.8,val=0.1,test=0.1]")
]
SeedFlag = Annotated[int | None, typer.Option(help="Of the sharing out.  [default: 0]")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]

app = new_app(no_args_is_help=True, help="Convert, check, count, split and flip labelled images.")


@app.command()
@said_when_stopped(whole_or_nothing)
def convert(
    source: SourceArgument,
    out: OutFlag,
    to: Annotated[Form, typer.Option(help="Form to write.")] = Form("dataset"),
    from_: FromFlag = None,
    image_folder: ImageFolderFlag = None,
    clean: CleanFlag = None,
    group: GroupFlag = None,
    group_table: GroupTableFlag = None,
    group_column: GroupColumnFlag = None,
    split: SplitFlag = None,
    seed: SeedFlag = None,
    mm_per_px: MmPerPxFlag = None,
    taxonomy: TaxonomyFlag = None,
) -> None:
    """Write labels in another form.

    The default form is the data set folder that `loomsight distill` takes. For it images are split,
    unless each has a split already; --split split them again.
    """
    from distill.labels.sets.sharing import split_by_options, with_groups

    label_set = _read(source, from_, image_folder, taxonomy, clean, mm_per_px)
    options = _sharing_options(group, group_table, group_column, split, seed)
    if to == "dataset" or split:
        label_set = split_by_options(label_set, options, again=split is not None)
    else:
        label_set = with_groups(label_set, options)
    _say_written(format_of(to).write(label_set, out), out)


@app.command("split")
@said_when_stopped(whole_or_nothing)
def split_command(
    source: SourceArgument,
    out: OutFlag,
    from_: FromFlag = None,
    image_folder: ImageFolderFlag = None,
    group: GroupFlag = None,
    group_table: GroupTableFlag = None,
    group_column: GroupColumnFlag = None,
    split: SplitFlag = None,
    seed: SeedFlag = None,
    taxonomy: TaxonomyFlag = None,
) -> None:
    """Split images by roll or strip and write a data set folder.

    Splits that SOURCE has are forgotten.
    """
    from distill.labels.formats import yolo
    from distill.labels.sets.sharing import split_by_options

    label_set = _read(source, from_, image_folder, taxonomy)
    options = _sharing_options(group, group_table, group_column, split, seed)
    label_set = split_by_options(label_set, options, again=True)
    _say_written(yolo.write(label_set, out), out)


@app.command()
@said_when_stopped(whole_or_nothing)
def flip(
    source: SourceArgument,
    out: OutFlag,
    horizontal: Annotated[
        bool, typer.Option("--horizontal/--no-horizontal", help="Flip left and right.")
    ] = True,
    vertical: Annotated[bool, typer.Option("--vertical", help="Flip top and bottom.")] = False,
    from_: FromFlag = None,
    image_folder: ImageFolderFlag = None,
    taxonomy: TaxonomyFlag = None,
) -> None:
    """Write a data set folder in which each training image also stands flipped, with its boxes."""
    from distill.labels.formats.flip import Direction, write_flipped

    wanted: dict[Direction, bool] = {"horizontal": horizontal, "vertical": vertical}
    directions = [direction for direction, is_wanted in wanted.items() if is_wanted]
    if not directions:
        raise ConfigError("There is no direction to flip in.", "Add --horizontal or --vertical.")
    label_set = _read(source, from_, image_folder, taxonomy)
    _say_written(write_flipped(label_set, out, directions), out)


@app.command()
def check(
    source: SourceArgument,
    from_: FromFlag = None,
    image_folder: ImageFolderFlag = None,
    labels_only: Annotated[
        bool, typer.Option("--labels-only", help="Do not open the images: much faster.")
    ] = False,
    as_json: JsonFlag = False,
    taxonomy: TaxonomyFlag = None,
) -> None:
    """Look for what breaks trainings; the exit code is 50 if there is anything."""
    from distill.labels.checks.check import check as find
    from distill.labels.checks.check import of_training
    from distill.labels.checks.reports import report_of_findings, summary_line
    from distill.labels.checks.sufficiency import too_little_in
    from edge.core.taxonomy import load_taxonomy

    form = from_ or detect(source)
    label_set = read_labels(source, load_taxonomy(taxonomy), format_name=form, image_folder=image_folder)
    findings = find(label_set, with_images=not labels_only)
    if form == "dataset" and not findings:
        findings = of_training(label_set, source)
    if as_json:
        echo(json_text([asdict(finding) for finding in findings]))
    else:
        _say_notes(label_set.notes)
        echo(report_of_findings(findings) if findings else f"ok: {summary_line(label_set)}")
        for line in too_little_in(label_set):
            echo(f"note: {line}", err=True)
    if findings:
        plural = "" if len(findings) == 1 else "s"
        raise DatasetError(f"{len(findings)} finding{plural} in {source}.", "Correct the labels above.")


@app.command()
def stats(
    source: SourceArgument,
    from_: FromFlag = None,
    image_folder: ImageFolderFlag = None,
    mm_per_px: MmPerPxFlag = None,
    as_json: JsonFlag = False,
    taxonomy: TaxonomyFlag = None,
) -> None:
    """Count images and boxes by class, category, split, group, size and score."""
    from distill.labels.checks.reports import report_of_stats
    from distill.labels.checks.stats import stats_of

    counts = stats_of(_read(source, from_, image_folder, taxonomy, mm_per_px=mm_per_px))
    shown = json_text(asdict(counts)) if as_json else report_of_stats(counts)
    echo(shown)


def _read(
    source: Path,
    form: SourceForm | None,
    image_folder: Path | None,
    taxonomy: Path | None,
    clean: list[Path] | None = None,
    mm_per_px: float | None = None,
) -> LabelSet:
    """Read labels, saying on stderr what could not be read."""
    from distill.labels.sets.clean import with_clean_images
    from edge.core.taxonomy import load_taxonomy

    configure_logging()
    if mm_per_px is not None and not (math.isfinite(mm_per_px) and mm_per_px > 0):
        raise ConfigError(f"--mm-per-px is {mm_per_px:g}.", "It must be above 0.")
    label_set = read_labels(source, load_taxonomy(taxonomy), format_name=form, image_folder=image_folder)
    for folder in clean or ():
        label_set = with_clean_images(label_set, folder)
    say_problems(label_set.problems)
    _say_notes(label_set.notes)
    if not label_set.images:
        raise DatasetError(f"Nothing of {source} can be used.", "Correct what is named above.")
    return replace(label_set, mm_per_px=mm_per_px) if mm_per_px else label_set


def _sharing_options(
    group: str | None,
    group_table: Path | None,
    group_column: str | None,
    split: str | None,
    seed: int | None,
) -> SharingOptions:
    from pydantic import ValidationError

    from distill.labels.sets.sharing import SharingOptions

    flags = {"group": group, "group_table": group_table, "group_column": group_column,
             "split": split, "seed": seed}  # fmt: skip
    try:
        return SharingOptions.model_validate({k: v for k, v in flags.items() if v is not None})
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"--{first['loc'][0]}: {first['msg']}.", "See --help.") from error


def _say_notes(notes: Mapping[str, str]) -> None:
    for file, note in notes.items():
        echo(f"note: {file}: {note}", err=True)


def _say_written(written: WrittenLabels, out: Path) -> None:
    from distill.labels.checks.reports import summary_line

    say_problems(written.left_out)
    echo(f"{out}: {summary_line(written.labels, written.left_out)}")


if __name__ == "__main__":
    run_command(app)
