"""Run `loomsight sam`: teach a SAM a plant's defects, and give boxes outlines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    say_problems,
    settings_of_run,
)
from distill.core.stopping import kept_run, said_when_stopped, whole_or_nothing
from distill.labels.sam.settings import OutlineSettings, SamFinetuneSettings
from edge.core.counted import counted, of_all
from edge.core.errors import INTERRUPTED_EXIT_CODE, OutputError
from edge.core.taxonomy import load_taxonomy
from edge.process.console import configure_logging, run_command
from edge.process.terminal import echo

if TYPE_CHECKING:
    from distill.core.run_folder import RunFolder
    from distill.labels.annotators.finetuning import Finetuning
    from distill.labels.sets.annotations import LabelSet

app = new_app()

FINETUNE_PREFIX = "LOOMSIGHT_SAM_"
OUTLINE_PREFIX = "LOOMSIGHT_OUTLINE_"

ModelSource = Annotated[
    str, typer.Argument(metavar="MODEL", help="Hub id or folder, e.g. facebook/sam-vit-base.")
]
LabelsSource = Annotated[
    Path, typer.Argument(metavar="LABELS", help="Labels of any form: a data set folder, a COCO file….")
]
WindowPx = Annotated[
    int | None, typer.Option(help="Look at a part of this side around each box, not at whole images.")
]


@app.callback()
def sam() -> None:
    """Teach a SAM the mill's defects, and give boxes outlines."""


@app.command()
@said_when_stopped(kept_run)
def finetune(
    model: ModelSource,
    labels: LabelsSource,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/sam"),
    settings: SettingsFlag = None,
    image_folder: ImagesOfLabelsFlag = None,
    epochs: Annotated[int | None, typer.Option(help="Overrides the settings.")] = None,
    batch: Annotated[int | None, typer.Option(help="Overrides the settings.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Overrides the settings.")] = None,
    window_px: WindowPx = None,
    seed: Annotated[int | None, typer.Option(help="Overrides the settings.")] = None,
    resume: ResumeFlag = False,
    device: DeviceFlag = DeviceChoice.auto,
    taxonomy: TaxonomyFlag = None,
    verbose: VerboseFlag = False,
) -> None:
    """Fine-tune the mask decoder of a SAM on outlines; both encoders stay as they are.

    LABELS is split into splits and has outlines, or the masks of `loomsight simulate`. The run folder
    then holds model/, best.pt, last.pt, history.jsonl and metrics.json. Ctrl-C saves last.pt; the same
    command with --resume goes on from there.
    """
    configure_logging(verbose)
    # Imports stand here because torch takes seconds: --help and most mistakes are answered without it.
    from distill.core.run_folder import RunFolder, way_on_said

    folder = RunFolder(out)
    flags = {"epochs": epochs, "batch": batch, "learning_rate": learning_rate,
             "window_px": window_px, "seed": seed}  # fmt: skip
    resolved = settings_of_run(
        SamFinetuneSettings, _run_kind, folder, settings, FINETUNE_PREFIX, flags, resume=resume
    )
    label_set = _labels(labels, image_folder, taxonomy)

    from distill.core.precision import choose_device
    from distill.core.progress import ConsoleListener
    from distill.labels.sam.examples import examples_of, masks_of_labels
    from distill.labels.sam.finetune import SHOWN
    from distill.labels.sam.finetune import finetune as teach
    from distill.labels.sam.loading import load_sam

    masks, problems = masks_of_labels(label_set, labels)
    say_problems({**label_set.problems, **problems})
    train, val = (examples_of(label_set, masks, split, resolved.window_px) for split in ("train", "val"))
    loaded = load_sam(model, device=choose_device(device.value))
    if not resume:
        folder.open_new()
        folder.write_json(folder.path / "settings.json", resolved.model_dump(mode="json"))
    with ConsoleListener(resolved.epochs, SHOWN) as listener, way_on_said(folder.way_on):
        is_done = teach(loaded, train, val, resolved, folder, listener=listener, resume=resume)
    if not is_done:
        leave_interrupted(folder.path)
    _print_summary(folder)


@app.command()
@said_when_stopped(whole_or_nothing)
def refine(
    model: ModelSource,
    labels: LabelsSource,
    out: Annotated[Path, typer.Option(help="What to write, in the form of LABELS; it must not exist yet.")],
    settings: SettingsFlag = None,
    image_folder: ImagesOfLabelsFlag = None,
    window_px: WindowPx = None,
    device: DeviceFlag = DeviceChoice.auto,
    taxonomy: TaxonomyFlag = None,
    verbose: VerboseFlag = False,
) -> None:
    """Write the same labels with outlines and tight boxes.

    What has an outline keeps it. A box stays as it is where the mask is empty or of quite another size.
    """
    configure_logging(verbose)
    from distill.labels.formats.registry import detect, format_of

    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise OutputError(f"{out} exists.", "Name another --out, or delete this one first.")
    asked = layered(OutlineSettings, settings, OUTLINE_PREFIX, os.environ, {"window_px": window_px})
    label_set = _labels(labels, image_folder, taxonomy)

    from distill.core.precision import choose_device
    from distill.labels.sam.loading import load_sam
    from distill.labels.sam.outliner import Outliner
    from distill.labels.sam.refine import refine as outline

    done = outline(label_set, Outliner(load_sam(model, device=choose_device(device.value)), asked))
    if not done.is_whole:
        echo("Stopped; nothing was written.", err=True)
        raise typer.Exit(INTERRUPTED_EXIT_CODE)
    written = format_of(detect(labels)).write(done.label_set, out)
    say_problems({**written.labels.problems, **written.left_out})
    regions = [region for image in written.labels.images for region in image.regions]
    outlined = sum(region.polygon_xy_px is not None for region in regions)
    counts = f"{of_all(outlined, len(regions), 'box')} with an outline now"
    echo(f"{out}: {counted(len(written.labels.images), 'image')}, {counts}")


def _labels(labels: Path, image_folder: Path | None, taxonomy: Path | None) -> LabelSet:
    from distill.labels.formats.registry import read_labels

    return read_labels(labels, load_taxonomy(taxonomy), image_folder=image_folder)


def _run_kind() -> type[Finetuning]:
    from distill.labels.sam.finetune import SamRun

    return SamRun


def _print_summary(folder: RunFolder) -> None:
    from distill.labels.sam.finetune import MODEL_FOLDER

    metrics = json.loads(folder.metrics.read_text(encoding="utf-8"))
    before = "not known" if metrics["before"] is None else f"{metrics['before']:.3f}"
    echo(f"model           {folder.path / MODEL_FOLDER}")
    echo(f"validation IoU  {metrics['best']:.3f}  before {before}  full boxes {metrics['full_box']:.3f}")


if __name__ == "__main__":
    run_command(app)
