"""The command `loomsight teacher`: fine-tune Florence-2, and ask it about pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from distill.cli import DeviceChoice
from edge.console import configure_logging, run_command
from edge.errors import INTERRUPTED_EXIT_CODE, ConfigError
from edge.taxonomy import load_taxonomy

if TYPE_CHECKING:
    from distill.labels.florence.settings import FinetuneSettings
    from distill.run_folder import RunFolder

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

ModelSource = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="Hub id or folder, e.g. florence-community/Florence-2-base-ft."),
]
TaxonomyFile = Annotated[
    Path | None, typer.Option(help="Taxonomy file of the mill.  [default: the shipped one]")
]
Device = Annotated[DeviceChoice, typer.Option(help="Where to compute.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Log more.")]


@app.callback()
def teacher() -> None:
    """Fine-tune the labelling teacher, and ask it about pictures."""


@app.command()
def finetune(
    model: ModelSource,
    labels: Annotated[
        Path,
        typer.Argument(metavar="LABELS", help="Labels shared out into splits: a data set folder, COCO…."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/teacher"),
    settings: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder of the pictures.  [default: in or beside LABELS]")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Overrides the settings.")] = None,
    batch: Annotated[int | None, typer.Option(help="Overrides the settings.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Overrides the settings.")] = None,
    seed: Annotated[int | None, typer.Option(help="Overrides the settings.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    device: Device = DeviceChoice.auto,
    taxonomy: TaxonomyFile = None,
    verbose: Verbose = False,
) -> None:
    """Fine-tune a Florence-2 on labels.

    The run folder then holds model/, adapter/, best.pt, last.pt, history.jsonl and curves.png. Ctrl-C saves
    last.pt; the same command with --resume goes on from there.
    """
    configure_logging(verbose)
    # Imports stand here because torch takes seconds: --help and most mistakes are answered without it.
    from distill.labels.formats import read_labels
    from distill.run_folder import RunFolder

    folder = RunFolder(out)
    flags = {"epochs": epochs, "batch": batch, "learning_rate": learning_rate, "seed": seed}
    resolved = _settings_of_run(folder, settings, flags, resume)
    classes = load_taxonomy(taxonomy)
    label_set = read_labels(labels, classes, pictures=pictures)

    from distill.labels.florence.finetune import finetune as teach
    from distill.labels.florence.loading import load_teacher
    from distill.labels.florence.progress import TeacherListener
    from distill.precision import choose_device

    loaded = load_teacher(model, device=choose_device(device.value))
    if not resume:
        folder.open_new()
        folder.write_json(folder.path / "settings.json", resolved.model_dump(mode="json"))
    for name, problem in label_set.problems.items():
        typer.echo(f"left out  {name}: {problem}", err=True)
    with TeacherListener(resolved.epochs) as listener:
        is_done = teach(loaded, label_set, classes, resolved, folder, listener=listener, resume=resume)
    if not is_done:
        _leave_interrupted(folder)
    _print_summary(folder)


@app.command()
def annotate(
    model: ModelSource,
    pictures: Annotated[Path, typer.Argument(metavar="PICTURES", help="A picture, or a folder of them.")],
    out: Annotated[Path, typer.Option(help="File of JSON lines to write.")] = Path("annotations.jsonl"),
    adapter: Annotated[Path | None, typer.Option(help="Folder of a LoRA adapter for this model.")] = None,
    settings: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
    vocabulary: Annotated[
        str | None, typer.Option(help="Classes to find, with commas.  [default: those of the taxonomy]")
    ] = None,
    open_names: Annotated[
        bool, typer.Option("--open", help="Find what is there and name it, without a vocabulary.")
    ] = False,
    beams: Annotated[int | None, typer.Option(help="1 is greedy.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pictures or tiles at once.")] = None,
    tile_px: Annotated[
        int | None, typer.Option(help="Cut larger pictures into tiles of this side.")
    ] = None,
    device: Device = DeviceChoice.auto,
    taxonomy: TaxonomyFile = None,
    verbose: Verbose = False,
) -> None:
    """Find and name defects in pictures; one JSON line per picture, scores as the model gives them.

    A picture that cannot be read gets a line with its problem, and the rest goes on.
    """
    configure_logging(verbose)
    from distill.labels.florence.settings import AnnotationSettings, load_settings

    classes = load_taxonomy(taxonomy)
    flags = {"beams": beams, "batch": batch, "tile_px": tile_px}
    asked = load_settings(AnnotationSettings, settings, os.environ, flags)
    names = tuple(name.strip() for name in vocabulary.split(",")) if vocabulary else classes.classes
    asked = asked.model_copy(update={"vocabulary": _vocabulary(names, open_names, vocabulary)})

    from distill.labels.florence.annotate import FlorenceAnnotator
    from distill.labels.florence.loading import load_teacher
    from distill.labels.florence.picture_lines import write_lines
    from distill.precision import choose_device
    from edge.cameras.folder import picture_files

    files = picture_files(pictures) if pictures.is_dir() else [pictures]
    if not files:
        raise ConfigError(f"There are no pictures in {pictures}.", "Name a picture or a folder of them.")
    loaded = load_teacher(model, adapter, device=choose_device(device.value))
    counts = write_lines(FlorenceAnnotator(loaded, classes, asked), files, out, batch=asked.batch)
    typer.echo(f"{counts.pictures} pictures, {counts.regions} regions, {counts.unreadable} unreadable")
    typer.echo(f"written to {out}")


def _vocabulary(names: tuple[str, ...], is_open: bool, given: str | None) -> tuple[str, ...] | None:
    if is_open and given:
        raise ConfigError("--open and --vocabulary exclude each other.", "Give one of them.")
    if not all(names):
        raise ConfigError(f"--vocabulary {given} holds an empty name.", "Write drop,broken.")
    return None if is_open else names


def _settings_of_run(
    folder: RunFolder, file: Path | None, flags: dict[str, Any], resume: bool
) -> FinetuneSettings:
    """Read the settings; a resumed run keeps its own, and flags may repeat them but not change them.

    Raises:
        ConfigError: if a resumed run is asked to change.
        CheckpointError: if there is no run to resume.
    """
    from distill.labels.florence.settings import FinetuneSettings, checked, load_settings

    if not resume:
        return load_settings(FinetuneSettings, file, os.environ, flags)

    from distill.labels.florence.finetune_run import settings_of_run

    kept = settings_of_run(folder)
    given = {key: value for key, value in flags.items() if value is not None}
    asked = (
        load_settings(FinetuneSettings, file, os.environ, flags)
        if file
        else checked(FinetuneSettings, {**kept.model_dump(), **given}, "the command line")
    )
    if asked != kept:
        raise ConfigError(
            f"The run in {folder.path} was started with other settings.",
            "A resumed run keeps its own: leave --settings and the flags out.",
        )
    return kept


def _leave_interrupted(folder: RunFolder) -> NoReturn:
    typer.echo(f"Stopped. Go on with the same command and --resume --out {folder.path}", err=True)
    raise typer.Exit(INTERRUPTED_EXIT_CODE)


def _print_summary(folder: RunFolder) -> None:
    from distill.labels.florence.finetune import CURVES
    from distill.labels.florence.publish import MODEL_FOLDER

    rows = [row for row in folder.read_history() if row["val_loss"] is not None]
    best = max(rows, key=lambda row: (row["map50"] or 0.0, -row["val_loss"]))
    map50 = "not known" if best["map50"] is None else f"{best['map50']:.3f}"
    typer.echo(f"model   {folder.path / MODEL_FOLDER}")
    typer.echo(f"curves  {folder.path / CURVES}")
    typer.echo(f"best epoch {best['epoch'] + 1}  mAP50 {map50}  validation loss {best['val_loss']:.3f}")


def main() -> NoReturn:
    """Run the command and leave with its exit code."""
    run_command(app)


if __name__ == "__main__":
    main()
