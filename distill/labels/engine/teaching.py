"""Teach annotators on what was accepted and reviewed: the second and later rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from distill.core.run_folder import RunFolder
from distill.labels.engine.job import Job, StoppedError
from distill.labels.engine.settings import AnnotatorKind, AnnotatorSpec
from edge.core.settings import resolved

if TYPE_CHECKING:
    from distill.labels.florence.settings import FinetuneSettings
    from distill.settings.recipe import Recipe

Teach = Callable[[AnnotatorSpec, Path, Job, RunFolder], AnnotatorSpec]


def is_teachable(spec: AnnotatorSpec) -> bool:
    """Tell whether an annotator can be, and may be, taught."""
    return spec.teach and spec.kind in TEACHERS


def taught(spec: AnnotatorSpec, dataset: Path, job: Job, folder: Path) -> AnnotatorSpec:
    """Teach an annotator on a data set folder and return it as it then is.

    A run that was interrupted goes on.

    Args:
        spec: who is taught; its model stays as it is.
        dataset: folder with reviewed and accepted boxes.
        job: whose taxonomy and device are used.
        folder: of the run.
    Raises:
        StoppedError: if a signal asked to stop.
        LoomsightError: whatever teaching raises.
    """
    return TEACHERS[spec.kind](spec, dataset, job, RunFolder(folder))


def check_teaching(spec: AnnotatorSpec) -> None:
    """See that the settings of a teaching are valid, before hours of labelling lead to it.

    Raises:
        ConfigError: if one is not.
        CheckpointError: if a detector's checkpoint, which holds its recipe, cannot be read.
    """
    SETTINGS[spec.kind](spec)


def _finetune_settings(spec: AnnotatorSpec) -> FinetuneSettings:
    from distill.labels.florence.settings import FinetuneSettings

    return resolved(FinetuneSettings, {f"the teaching of '{spec.name}'": spec.teaching})


def _recipe(spec: AnnotatorSpec) -> Recipe:
    from distill.checkpoint import read_checkpoint
    from distill.settings.recipe import Recipe

    layers: Mapping[str, Mapping[str, Any]] = {
        f"the recipe in {spec.model}": read_checkpoint(Path(spec.model)).recipe,
        f"the teaching of '{spec.name}'": spec.teaching,
    }
    return resolved(Recipe, layers).alone().without_rehearsal()


def _florence(spec: AnnotatorSpec, dataset: Path, job: Job, folder: RunFolder) -> AnnotatorSpec:
    from distill.core.precision import choose_device
    from distill.labels.florence.finetune import finetune
    from distill.labels.florence.loading import load_teacher
    from distill.labels.florence.progress import TeacherListener
    from distill.labels.florence.publish import MODEL_FOLDER
    from distill.labels.formats.registry import read_labels

    settings = _finetune_settings(spec)
    label_set = read_labels(dataset, job.taxonomy, format_name="dataset")
    adapter = Path(spec.adapter) if spec.adapter else None
    teacher = load_teacher(spec.model, adapter, device=choose_device(job.device))
    resume = _opened(folder)
    with TeacherListener(settings.epochs) as listener:
        is_done = finetune(
            teacher, label_set, job.taxonomy, settings, folder, listener=listener, resume=resume
        )
    if not is_done:
        raise StoppedError
    return spec.model_copy(update={"model": str(folder.path / MODEL_FOLDER), "adapter": None})


def _detector(spec: AnnotatorSpec, dataset: Path, job: Job, folder: RunFolder) -> AnnotatorSpec:
    from distill.core.precision import choose_device
    from distill.core.progress import ConsoleListener
    from distill.data.dataset import load_dataset
    from distill.training.train import contract_for, train

    recipe = _recipe(spec)
    data = load_dataset(dataset, job.taxonomy)
    contract = contract_for(recipe, job.taxonomy, data.mm_per_px)
    resume = _opened(folder)
    with ConsoleListener(recipe.epochs) as listener:
        is_done = train(
            data, contract, recipe, folder, device=choose_device(job.device), listener=listener,
            turned_ids=job.taxonomy.quarter_turned_ids(), resume=resume,
            start_from=None if resume else Path(spec.model),
        )  # fmt: skip
    if not is_done:
        raise StoppedError
    return spec.model_copy(update={"model": str(folder.best)})


TEACHERS: Final[Mapping[AnnotatorKind, Teach]] = {"florence": _florence, "detector": _detector}
SETTINGS: Final[Mapping[AnnotatorKind, Callable[[AnnotatorSpec], object]]] = {
    "florence": _finetune_settings,
    "detector": _recipe,
}


def _opened(folder: RunFolder) -> bool:
    """Make the run's folder; tell whether a run that was interrupted is in it."""
    if folder.last.is_file():
        return True
    folder.open_new()
    return False
