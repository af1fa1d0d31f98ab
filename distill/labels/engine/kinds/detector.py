"""A detector of `distill`: it labels, and is trained further on what was accepted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.core.run_folder import RunFolder
from distill.labels.annotators.annotator import Annotator
from distill.labels.engine.builders import AnnotatorContext, settings_of
from distill.labels.engine.job import Job, StoppedError
from distill.labels.engine.settings import AnnotatorSpec
from distill.settings.shipped import checkpoint_named
from edge.core.settings import resolved

if TYPE_CHECKING:
    from distill.settings.recipe import Recipe


def build(spec: AnnotatorSpec, surroundings: AnnotatorContext) -> Annotator:
    """Load a checkpoint, or the detector that ships."""
    from distill.core.precision import choose_device
    from distill.labels.annotators.detector_annotator import DetectorAnnotator, DetectorSettings
    from distill.training.starting_point import load_named

    return DetectorAnnotator(
        load_named(checkpoint_named(spec.model)),
        mm_per_px=surroundings.mm_per_px,
        settings=settings_of(DetectorSettings, spec.settings, spec),
        device=choose_device(surroundings.device),
        name=spec.name,
    )


def teaching_settings(spec: AnnotatorSpec) -> Recipe:
    """Return the recipe of its training: that of its checkpoint, but for what the spec says."""
    from distill.checkpoint import read_checkpoint
    from distill.settings.recipe import Recipe

    layers: Mapping[str, Mapping[str, Any]] = {
        f"the recipe in {spec.model}": read_checkpoint(checkpoint_named(spec.model)).recipe,
        f"the teaching of '{spec.name}'": spec.teaching,
    }
    return resolved(Recipe, layers).alone().without_rehearsal()


def taught(spec: AnnotatorSpec, dataset: Path, job: Job, folder: RunFolder) -> AnnotatorSpec:
    """Train it on a data set folder."""
    from distill.core.precision import choose_device
    from distill.core.progress import ConsoleListener
    from distill.data.dataset import load_dataset
    from distill.training.train import contract_for, train

    recipe = teaching_settings(spec)
    data = load_dataset(dataset, job.taxonomy)
    contract = contract_for(recipe, job.taxonomy, data.mm_per_px)
    resume = folder.open_or_go_on()
    with ConsoleListener(recipe.epochs) as listener:
        is_done = train(
            data, contract, recipe, folder, device=choose_device(job.device), listener=listener,
            turned_ids=job.taxonomy.quarter_turned_ids(), resume=resume,
            start_from=None if resume else checkpoint_named(spec.model),
        )  # fmt: skip
    if not is_done:
        raise StoppedError
    return spec.model_copy(update={"model": str(folder.best)})
