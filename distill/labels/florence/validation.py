"""How good a teacher is on images it was not taught: its loss, and the precision of its boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from distill.evaluation.evaluate import Metrics, metrics_of
from distill.labels.florence.annotate import FlorenceAnnotator
from distill.labels.florence.finetune_run import FinetuneRun
from distill.labels.florence.flips import Flips
from distill.labels.florence.settings import AnnotationSettings
from distill.labels.florence.teaching import Classroom, loss_of
from distill.labels.florence.timetable import Turn, exercises_of
from distill.labels.sets.annotations import AnnotatedImage, Region
from distill.labels.sets.image_files import decoded
from distill.labels.sets.naming import class_of
from edge.core.detections import Detections
from edge.core.errors import DatasetError
from edge.core.image import Image
from edge.core.taxonomy import Taxonomy


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """Hold what a validation gave.

    Attributes:
        loss: of the right answers, nats per token.
        metrics: of the boxes; None if the tasks taught give none.
    """

    loss: float
    metrics: Metrics | None

    @property
    def rank(self) -> tuple[float, float]:
        """The better epoch has the greater one: by the precision of its boxes, then by its loss."""
        return (self.metrics.fitness if self.metrics else 0.0, -self.loss)


def validate(run: FinetuneRun) -> ValidationResult:
    """Score the teacher on the validation split."""
    run.teacher.model.eval()
    return ValidationResult(_loss(run), _metrics(run))


def detections_of(regions: Sequence[Region], taxonomy: Taxonomy) -> Detections:
    """Bring regions into the form that detectors are scored in; what is of no class is left out."""
    named = [(class_of(region, taxonomy), region) for region in regions]
    known = [(taxonomy.class_id(name), r) for name, r in named if name in taxonomy.classes]
    return Detections(
        np.array([region.box_xyxy_px for _, region in known], np.float32).reshape(-1, 4),
        np.array([1.0 if region.score is None else region.score for _, region in known], np.float32),
        np.array([class_id for class_id, _ in known], np.int64),
    )


def readable(room: Classroom) -> tuple[list[AnnotatedImage], list[Image]]:
    """Decode the images of a split; those that cannot be read are left out."""
    pairs = []
    for image in room.images:
        try:
            pairs.append((image, decoded(room.root / image.file_name)))
        except DatasetError:
            room.unreadable.add(image.file_name)
    return [image for image, _ in pairs], [pixels for _, pixels in pairs]


@torch.inference_mode()
def _loss(run: FinetuneRun) -> float:
    exercises = exercises_of(run.val.images, run.taxonomy, run.settings.tasks)
    turns = [Turn(exercise, Flips()) for exercise in exercises]
    total, tokens = 0.0, 0
    for start in range(0, len(turns), run.settings.batch):
        tensors = run.val.tensors(turns[start : start + run.settings.batch])
        if tensors is None:
            continue
        count = int((tensors["labels"] >= 0).sum())
        with run.precision.autocast():
            loss = loss_of(run.teacher.model, tensors, run.locations, sigma_bins=0)
        total, tokens = total + float(loss) * count, tokens + count
    return total / tokens if tokens else float("nan")


def _metrics(run: FinetuneRun) -> Metrics | None:
    tasks = run.settings.tasks
    if "detection" not in tasks and "dense_region_caption" not in tasks:
        return None
    settings = AnnotationSettings(
        vocabulary=run.taxonomy.classes if "detection" in tasks else None,
        batch=run.settings.batch,
        max_new_tokens=run.settings.max_new_tokens,
    )
    images, decoded_images = readable(run.val)
    with run.precision.autocast():
        annotator = FlorenceAnnotator(run.teacher, run.taxonomy, settings, report_cuts=False)
        found = annotator.annotate(decoded_images)
    compared = [
        (detections_of(regions, run.taxonomy), detections_of(image.regions, run.taxonomy))
        for regions, image in zip(found, images, strict=True)
    ]
    return metrics_of(compared, run.taxonomy.classes)
