"""A Florence-2: asked for what it was taught, and taught further on what was accepted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distill.core.run_folder import RunFolder
from distill.labels.annotators.annotator import Annotator
from distill.labels.engine.builders import AnnotatorContext, settings_of
from distill.labels.engine.job import Job, StoppedError
from distill.labels.engine.settings import AnnotatorSpec
from edge.core.settings import resolved

if TYPE_CHECKING:
    from distill.labels.florence.settings import FinetuneSettings


def build(spec: AnnotatorSpec, surroundings: AnnotatorContext) -> Annotator:
    """Load a Florence-2; its vocabulary is the taxonomy's."""
    from distill.core.precision import choose_device
    from distill.labels.florence.annotate import FlorenceAnnotator
    from distill.labels.florence.loading import load_teacher
    from distill.labels.florence.settings import AnnotationSettings

    settings = settings_of(
        AnnotationSettings, {"vocabulary": surroundings.taxonomy.classes, **spec.settings}, spec
    )
    adapter = Path(spec.adapter) if spec.adapter else None
    teacher = load_teacher(spec.model, adapter, device=choose_device(surroundings.device))
    return FlorenceAnnotator(teacher, surroundings.taxonomy, settings, spec.name)


def teaching_settings(spec: AnnotatorSpec) -> FinetuneSettings:
    """Return the settings of its fine-tuning."""
    from distill.labels.florence.settings import FinetuneSettings

    return resolved(FinetuneSettings, {f"the teaching of '{spec.name}'": spec.teaching})


def taught(spec: AnnotatorSpec, dataset: Path, job: Job, folder: RunFolder) -> AnnotatorSpec:
    """Fine-tune it on a data set folder."""
    from distill.core.precision import choose_device
    from distill.core.progress import ConsoleListener
    from distill.labels.florence.finetune import MODEL_FOLDER, SHOWN, finetune
    from distill.labels.florence.loading import load_teacher
    from distill.labels.formats.registry import read_labels

    settings = teaching_settings(spec)
    label_set = read_labels(dataset, job.taxonomy, format_name="dataset")
    adapter = Path(spec.adapter) if spec.adapter else None
    teacher = load_teacher(spec.model, adapter, device=choose_device(job.device))
    resume = folder.open_or_go_on()
    with ConsoleListener(settings.epochs, SHOWN) as listener:
        is_done = finetune(
            teacher, label_set, job.taxonomy, settings, folder, listener=listener, resume=resume
        )
    if not is_done:
        raise StoppedError
    return spec.model_copy(update={"model": str(folder.path / MODEL_FOLDER), "adapter": None})
