"""Run `loomsight teacher`: fine-tune Florence-2, ask it about images, merge adapters."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from distill.commands.options import (
    DeviceChoice,
    DeviceFlag,
    ImagesOfLabelsFlag,
    ResumeFlag,
    SettingsFlag,
    TaxonomyFlag,
    VerboseFlag,
    layered,
    leave_interrupted,
    new_app,
    settings_of_run,
)
from distill.core.stopping import kept_run, said_when_stopped, whole_or_nothing
from distill.labels.florence.settings import ENVIRONMENT_PREFIX, AnnotationSettings, FinetuneSettings
from edge.core.counted import counted
from edge.core.errors import ConfigError, DatasetError, OutputError
from edge.core.taxonomy import load_taxonomy
from edge.process.console import configure_logging, run_command
from edge.process.terminal import echo, json_text

if TYPE_CHECKING:
    from distill.core.run_folder import RunFolder
    from distill.labels.annotators.finetuning import Finetuning

app = new_app()

ModelSource = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="Hub id or folder, e.g. florence-community/Florence-2-base-ft."),
]
AdapterFolder = Annotated[Path | None, typer.Option(help="Folder of a LoRA adapter for this model.")]
Override = "Overrides the settings."

_OF_FINETUNING_ALONE = FinetuneSettings.model_fields.keys() - AnnotationSettings.model_fields.keys()
_OF_ASKING_ALONE = AnnotationSettings.model_fields.keys() - FinetuneSettings.model_fields.keys()


@app.callback()
def teacher() -> None:
    """Fine-tune the labelling teacher, and ask it about images."""


@app.command()
@said_when_stopped(kept_run)
def finetune(
    model: ModelSource,
    labels: Annotated[
        Path,
        typer.Argument(metavar="LABELS", help="Labels split into splits: a data set folder, COCO…."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/teacher"),
    settings: SettingsFlag = None,
    image_folder: ImagesOfLabelsFlag = None,
    epochs: Annotated[int | None, typer.Option(help=Override)] = None,
    batch: Annotated[int | None, typer.Option(help=Override)] = None,
    learning_rate: Annotated[float | None, typer.Option(help=Override)] = None,
    seed: Annotated[int | None, typer.Option(help=Override)] = None,
    dora: Annotated[bool | None, typer.Option("--dora", help="DoRA in place of LoRA.")] = None,
    freeze_vision: Annotated[
        bool | None, typer.Option("--freeze-vision", help="Leave the vision half as it is.")
    ] = None,
    freeze_text: Annotated[
        bool | None, typer.Option("--freeze-text", help="Leave the text half as it is.")
    ] = None,
    gradient_checkpointing: Annotated[
        bool | None, typer.Option("--gradient-checkpointing", help="Less memory, more time.")
    ] = None,
    resume: ResumeFlag = False,
    device: DeviceFlag = DeviceChoice.auto,
    taxonomy: TaxonomyFlag = None,
    verbose: VerboseFlag = False,
) -> None:
    """Fine-tune a Florence-2 on labels.

    The run folder then holds model/, adapter/, best.pt, last.pt, history.jsonl and curves.png. Ctrl-C saves
    last.pt; the same command with --resume goes on from there.
    """
    configure_logging(verbose)
    # Imports stand here because torch takes seconds: --help and most mistakes are answered without it.
    from distill.core.run_folder import RunFolder, way_on_said
    from distill.labels.formats.registry import read_labels

    folder = RunFolder(out)
    flags = {
        "epochs": epochs, "batch": batch, "learning_rate": learning_rate, "seed": seed,
        "lora": {"dora": True} if dora else None, "freeze_vision": freeze_vision,
        "freeze_text": freeze_text, "gradient_checkpointing": gradient_checkpointing,
    }  # fmt: skip
    resolved = settings_of_run(
        FinetuneSettings, _run_kind, folder, settings, ENVIRONMENT_PREFIX, flags, resume=resume,
        others=_OF_ASKING_ALONE,
    )  # fmt: skip
    classes = load_taxonomy(taxonomy)
    label_set = read_labels(labels, classes, image_folder=image_folder)

    from distill.core.precision import choose_device
    from distill.core.progress import ConsoleListener
    from distill.labels.florence.finetune import SHOWN
    from distill.labels.florence.finetune import finetune as teach
    from distill.labels.florence.loading import load_teacher

    loaded = load_teacher(model, device=choose_device(device.value))
    if not resume:
        folder.open_new()
        folder.write_json(folder.path / "settings.json", resolved.model_dump(mode="json"))
    for name, problem in label_set.problems.items():
        echo(f"left out  {name}: {problem}", err=True)
    with ConsoleListener(resolved.epochs, SHOWN) as listener, way_on_said(folder.way_on):
        is_done = teach(loaded, label_set, classes, resolved, folder, listener=listener, resume=resume)
    if not is_done:
        leave_interrupted(folder.path)
    _print_summary(folder)


@app.command()
@said_when_stopped(whole_or_nothing)
def annotate(
    model: ModelSource,
    image_folder: Annotated[Path, typer.Argument(metavar="IMAGES", help="An image, or a folder of them.")],
    out: Annotated[Path, typer.Option(help="File of JSON lines to write.")] = Path("annotations.jsonl"),
    adapter: AdapterFolder = None,
    settings: SettingsFlag = None,
    vocabulary: Annotated[
        str | None,
        typer.Option(help="Classes to find, with commas.  [default: of the settings, or the taxonomy]"),
    ] = None,
    open_names: Annotated[
        bool, typer.Option("--open", help="Find what is there and name it, without a vocabulary.")
    ] = False,
    beams: Annotated[int | None, typer.Option(help="1 is greedy.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images or tiles at once.")] = None,
    tile_px: Annotated[int | None, typer.Option(help="Cut larger images into tiles of this side.")] = None,
    device: DeviceFlag = DeviceChoice.auto,
    taxonomy: TaxonomyFlag = None,
    verbose: VerboseFlag = False,
) -> None:
    """Find and name defects in images; one JSON line per image, scores as the model gives them.

    An image that cannot be read gets a line with its problem, and the rest goes on.
    """
    configure_logging(verbose)
    classes = load_taxonomy(taxonomy)
    flags = {"beams": beams, "batch": batch, "tile_px": tile_px, "vocabulary": _names(vocabulary)}
    asked = _asked(settings, flags)
    if open_names and vocabulary:
        raise ConfigError("--open and --vocabulary exclude each other.", "Give one of them.")
    names = None if open_names else asked.vocabulary or classes.classes
    asked = asked.model_copy(update={"vocabulary": names})
    if out.exists():
        raise OutputError(f"{out} exists.", "Name another --out, or delete this one first.")

    from distill.core.precision import choose_device
    from distill.labels.florence.annotate import FlorenceAnnotator
    from distill.labels.florence.image_lines import write_lines
    from distill.labels.florence.loading import load_teacher
    from edge.cameras.folder import image_files

    if not image_folder.exists():
        raise DatasetError(f"There is no {image_folder}.", "Name an image or a folder of them.")
    files = image_files(image_folder) if image_folder.is_dir() else [image_folder]
    if not files:
        raise DatasetError(f"There are no images in {image_folder}.", "Name an image or a folder of them.")
    loaded = load_teacher(model, adapter, device=choose_device(device.value))
    counts = write_lines(FlorenceAnnotator(loaded, classes, asked), files, out, batch=asked.batch)
    echo(
        f"{counted(counts.images, 'image')}, {counted(counts.regions, 'region')}, "
        f"{counts.unreadable} unreadable"
    )
    echo(f"written to {out}")
    if not counts.images:
        raise DatasetError(f"None of the images in {image_folder} can be read.", f"{out} says why.")


@app.command()
def ask(
    model: ModelSource,
    image_path: Annotated[Path | None, typer.Argument(metavar="IMAGE", help="What is asked about.")] = None,
    task: Annotated[str, typer.Option(metavar="NAME", help="What is asked.")] = "detection",
    text: Annotated[
        str, typer.Option(help="Words, names with full stops, or location tokens: what the task is about.")
    ] = "",
    adapter: AdapterFolder = None,
    settings: SettingsFlag = None,
    vocabulary: Annotated[
        str | None, typer.Option(help="Names that boxes may have, with commas.  [default: any]")
    ] = None,
    beams: Annotated[int | None, typer.Option(help="1 is greedy.")] = None,
    device: DeviceFlag = DeviceChoice.auto,
    taxonomy: TaxonomyFlag = None,
    verbose: VerboseFlag = False,
) -> None:
    """Ask one thing of an image, a text or both, and print the answer as JSON.

    The answer holds the text as the model wrote it and the regions that it names: boxes or outlines in
    pixels of the image. Tasks: detection, dense_region_caption, grounding, segmentation, caption,
    detailed_caption, more_detailed_caption, region_to_category, region_to_description,
    region_to_segmentation.
    """
    configure_logging(verbose)
    classes = load_taxonomy(taxonomy)
    flags = {"beams": beams, "vocabulary": _names(vocabulary)}
    asked = _asked(settings, flags)

    from distill.core.precision import choose_device
    from distill.labels.florence.annotate import FlorenceAnnotator, Question
    from distill.labels.florence.image_lines import answer_record
    from distill.labels.florence.loading import load_teacher
    from distill.labels.florence.tasks import checked_task
    from distill.labels.sets.image_files import decoded

    name = checked_task(task, text, has_image=image_path is not None)
    image = decoded(image_path) if image_path else None
    loaded = load_teacher(model, adapter, device=choose_device(device.value))
    (answer,) = FlorenceAnnotator(loaded, classes, asked).answer([Question(name, image, text)])
    echo(json_text(answer_record(name, image_path, image, answer)))


@app.command()
@said_when_stopped(whole_or_nothing)
def merge(
    model: ModelSource,
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="Folder of a LoRA adapter.")],
    out: Annotated[Path, typer.Option(help="Folder to write; must not exist, or be empty.")],
    verbose: VerboseFlag = False,
) -> None:
    """Add an adapter to the weights of its model, and write a whole model."""
    configure_logging(verbose)
    from distill.labels.florence.adapter import merged
    from distill.labels.florence.loading import load_teacher, write_model_folder
    from edge.core.publishing import new_folder

    with new_folder(out) as folder:
        loaded = load_teacher(model, adapter)
        write_model_folder(merged(loaded.model), loaded.processor, folder)
    echo(f"model   {out}")


def _names(given: str | None) -> tuple[str, ...] | None:
    """Part a vocabulary at its commas."""
    names = tuple(name.strip() for name in given.split(",")) if given is not None else None
    if names is not None and not all(names):
        raise ConfigError(f"--vocabulary {given} holds an empty name.", "Write drop,broken.")
    return names


def _asked(file: Path | None, flags: dict[str, Any]) -> AnnotationSettings:
    return layered(
        AnnotationSettings, file, ENVIRONMENT_PREFIX, os.environ, flags, others=_OF_FINETUNING_ALONE
    )


def _run_kind() -> type[Finetuning]:
    from distill.labels.florence.finetune import TeacherRun

    return TeacherRun


def _print_summary(folder: RunFolder) -> None:
    from distill.labels.florence.finetune import CURVES, MODEL_FOLDER
    from distill.training.comparison import LEAST_MAP50

    rows = [row for row in folder.read_history() if row["val_loss"] is not None]
    best = max(rows, key=lambda row: (row["map50"] or 0.0, -row["val_loss"]))
    map50 = "not known" if best["map50"] is None else f"{best['map50']:.3f}"
    echo(f"model   {folder.path / MODEL_FOLDER}")
    echo(f"curves  {folder.path / CURVES}")
    echo(f"best epoch {best['epoch'] + 1}  mAP50 {map50}  validation loss {best['val_loss']:.3f}")
    if best["map50"] is not None and best["map50"] < LEAST_MAP50:
        echo(
            f"warning: the teacher finds next to nothing (mAP50 {map50}). "
            "Train it longer, or with more labelled images, before it labels any.",
            err=True,
        )


def main() -> NoReturn:
    """Run the command and leave with its exit code."""
    run_command(app)


if __name__ == "__main__":
    main()
