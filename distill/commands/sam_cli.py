"""Run `loomsight sam`: teach a SAM a plant's defects, and give boxes outlines."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from distill.commands.device import DeviceChoice
from edge.core.errors import INTERRUPTED_EXIT_CODE, ConfigError, OutputError
from edge.core.taxonomy import load_taxonomy
from edge.process.console import configure_logging, run_command
from edge.process.terminal import echo

if TYPE_CHECKING:
    from distill.core.run_folder import RunFolder
    from distill.labels.sam.settings import SamFinetuneSettings
    from distill.labels.sets.annotations import LabelSet

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

FINETUNE_PREFIX = "LOOMSIGHT_SAM_"
OUTLINE_PREFIX = "LOOMSIGHT_OUTLINE_"

ModelSource = Annotated[
    str, typer.Argument(metavar="MODEL", help="Hub id or folder, e.g. facebook/sam-vit-base.")
]
LabelsSource = Annotated[
    Path, typer.Argument(metavar="LABELS", help="Labels of any form: a data set folder, a COCO file….")
]
SettingsFile = Annotated[Path | None, typer.Option(help="TOML file of settings.")]
ImageFolder = Annotated[
    Path | None, typer.Option("--pictures", help="Folder of the images.  [default: in or beside LABELS]")
]
TaxonomyFile = Annotated[
    Path | None, typer.Option(help="Taxonomy file of the mill.  [default: the shipped one]")
]
WindowPx = Annotated[
    int | None, typer.Option(help="Look at a part of this side around each box, not at whole images.")
]
Device = Annotated[DeviceChoice, typer.Option(help="Where to compute.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Log more.")]


@app.callback()
def sam() -> None:
    """Teach a SAM the mill's defects, and give boxes outlines."""


@app.command()
def finetune(
    model: ModelSource,
    labels: LabelsSource,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/sam"),
    settings: SettingsFile = None,
    image_folder: ImageFolder = None,
    epochs: Annotated[int | None, typer.Option(help="Overrides the settings.")] = None,
    batch: Annotated[int | None, typer.Option(help="Overrides the settings.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Overrides the settings.")] = None,
    window_px: WindowPx = None,
    seed: Annotated[int | None, typer.Option(help="Overrides the settings.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    device: Device = DeviceChoice.auto,
    taxonomy: TaxonomyFile = None,
    verbose: Verbose = False,
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
    resolved = _settings_of_run(folder, settings, flags, resume)
    label_set = _labels(labels, image_folder, taxonomy)

    from distill.core.precision import choose_device
    from distill.labels.sam.examples import examples_of, masks_of_labels
    from distill.labels.sam.finetune import finetune as teach
    from distill.labels.sam.loading import load_sam
    from distill.labels.sam.progress import SamListener

    masks, problems = masks_of_labels(label_set, labels)
    _say_problems({**label_set.problems, **problems})
    train, val = (examples_of(label_set, masks, split, resolved.window_px) for split in ("train", "val"))
    loaded = load_sam(model, device=choose_device(device.value))
    if not resume:
        folder.open_new()
        folder.write_json(folder.path / "settings.json", resolved.model_dump(mode="json"))
    with SamListener(resolved.epochs) as listener, way_on_said(folder.way_on):
        is_done = teach(loaded, train, val, resolved, folder, listener=listener, resume=resume)
    if not is_done:
        echo(f"Stopped. Go on with the same command and --resume --out {folder.path}", err=True)
        raise typer.Exit(INTERRUPTED_EXIT_CODE)
    _print_summary(folder)


@app.command()
def refine(
    model: ModelSource,
    labels: LabelsSource,
    out: Annotated[Path, typer.Option(help="What to write, in the form of LABELS; it must not exist yet.")],
    settings: SettingsFile = None,
    image_folder: ImageFolder = None,
    window_px: WindowPx = None,
    device: Device = DeviceChoice.auto,
    taxonomy: TaxonomyFile = None,
    verbose: Verbose = False,
) -> None:
    """Write the same labels with outlines and tight boxes.

    What has an outline keeps it. A box stays as it is where the mask is empty or of quite another size.
    """
    configure_logging(verbose)
    from distill.labels.formats.registry import detect, format_of
    from distill.labels.sam.settings import OutlineSettings
    from edge.core.settings import environment_values, resolved, toml_values

    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise OutputError(f"{out} exists.", "Name another --out, or delete this one first.")
    layers = {
        str(settings): toml_values(settings),
        f"the environment ({OUTLINE_PREFIX}*)": environment_values(os.environ, OUTLINE_PREFIX),
        "the command line": {} if window_px is None else {"window_px": window_px},
    }
    asked = resolved(OutlineSettings, layers)
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
    _say_problems({**written.labels.problems, **written.left_out})
    regions = [region for image in written.labels.images for region in image.regions]
    outlined = sum(region.polygon_xy_px is not None for region in regions)
    counts = f"{outlined} of {len(regions)} boxes have an outline now"
    echo(f"{out}: {len(written.labels.images)} images, {counts}")


def _labels(labels: Path, image_folder: Path | None, taxonomy: Path | None) -> LabelSet:
    from distill.labels.formats.registry import read_labels

    return read_labels(labels, load_taxonomy(taxonomy), image_folder=image_folder)


def _settings_of_run(
    folder: RunFolder, file: Path | None, flags: Mapping[str, Any], resume: bool
) -> SamFinetuneSettings:
    """Read the settings; a resumed run keeps its own, and flags may repeat them but not change them.

    Raises:
        ConfigError: if a resumed run is asked to change.
        CheckpointError: if there is no run to resume.
    """
    from distill.labels.sam.settings import SamFinetuneSettings
    from edge.core.settings import environment_values, resolved, toml_values

    given = {key: value for key, value in flags.items() if value is not None}
    layers = {
        str(file): toml_values(file),
        f"the environment ({FINETUNE_PREFIX}*)": environment_values(os.environ, FINETUNE_PREFIX),
        "the command line": given,
    }
    if not resume:
        return resolved(SamFinetuneSettings, layers)

    from distill.labels.sam.finetune_run import settings_of_run

    kept = settings_of_run(folder)
    own = {"the run": kept.model_dump()}
    asked = resolved(SamFinetuneSettings, layers if file else {**own, "the command line": given})
    if asked != kept:
        raise ConfigError(
            f"The run in {folder.path} was started with other settings.",
            "A resumed run keeps its own: leave --settings and the flags out.",
        )
    return kept


def _say_problems(problems: Mapping[str, str]) -> None:
    for file, problem in problems.items():
        echo(f"warning: {file}: {problem}", err=True)


def _print_summary(folder: RunFolder) -> None:
    from distill.labels.sam.finetune import MODEL_FOLDER

    metrics = json.loads(folder.metrics.read_text(encoding="utf-8"))
    before = "not known" if metrics["before"] is None else f"{metrics['before']:.3f}"
    echo(f"model           {folder.path / MODEL_FOLDER}")
    echo(f"validation IoU  {metrics['best']:.3f}  before {before}  full boxes {metrics['full_box']:.3f}")


def main() -> NoReturn:
    """Run the command and leave with its exit code."""
    run_command(app)


if __name__ == "__main__":
    main()
