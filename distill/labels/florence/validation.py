"""How good a teacher is on images it was not taught: its loss, and the precision of its boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from distill.core.precision import Precision
from distill.evaluation.evaluate import Metrics, metrics_of
from distill.labels.annotators.as_detections import as_detections
from distill.labels.annotators.finetuning import Validation
from distill.labels.florence.annotate import FlorenceAnnotator
from distill.labels.florence.settings import AnnotationSettings, FinetuneSettings
from distill.labels.florence.teaching import Classroom, loss_of
from distill.labels.florence.timetable import Turn, exercises_of
from distill.labels.sets.annotations import AnnotatedImage, Region
from distill.labels.sets.image_files import decoded
from distill.labels.sets.naming import class_of
from edge.core.detections import Detections
from edge.core.errors import DatasetError
from edge.core.image import Image
from edge.core.taxonomy import Taxonomy


def validate(
    room: Classroom, settings: FinetuneSettings, locations: Tensor, precision: Precision
) -> Validation:
    """Score the teacher on the validation split: by the precision of its boxes, then by its loss."""
    room.teacher.model.eval()
    loss, metrics = _loss(room, settings, locations, precision), _metrics(room, settings, precision)
    values = {
        "val_loss": loss,
        "map50": metrics.map50 if metrics else None,
        "map50_95": metrics.map50_95 if metrics else None,
        "ap50": metrics.ap50 if metrics else None,
    }
    return Validation((metrics.fitness if metrics else 0.0, -loss), values)


def detections_of(regions: Sequence[Region], taxonomy: Taxonomy) -> Detections:
    """Bring regions into the form that detectors are scored in; what is of no class is left out."""
    named = [replace(region, label=class_of(region, taxonomy)) for region in regions]
    return as_detections([one for one in named if one.label in taxonomy.classes], taxonomy.class_id)


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
def _loss(room: Classroom, settings: FinetuneSettings, locations: Tensor, precision: Precision) -> float:
    """Return the loss of the right answers, in nats per token."""
    exercises = exercises_of(room.images, room.taxonomy, settings.tasks)
    turns = [Turn(exercise, ()) for exercise in exercises]
    total, tokens = 0.0, 0
    for start in range(0, len(turns), settings.batch):
        tensors = room.tensors(turns[start : start + settings.batch])
        if tensors is None:
            continue
        count = int((tensors["labels"] >= 0).sum())
        with precision.autocast():
            loss = loss_of(room.teacher.model, tensors, locations, sigma_bins=0)
        total, tokens = total + float(loss) * count, tokens + count
    return total / tokens if tokens else float("nan")


def _metrics(room: Classroom, settings: FinetuneSettings, precision: Precision) -> Metrics | None:
    """Score the boxes; None if the tasks taught give none."""
    if "detection" not in settings.tasks and "dense_region_caption" not in settings.tasks:
        return None
    asked = AnnotationSettings(
        vocabulary=room.taxonomy.classes if "detection" in settings.tasks else None,
        batch=settings.batch,
        max_new_tokens=settings.max_new_tokens,
    )
    images, decoded_images = readable(room)
    with precision.autocast():
        annotator = FlorenceAnnotator(room.teacher, room.taxonomy, asked, report_cuts=False)
        found = annotator.annotate(decoded_images)
    compared = [
        (detections_of(regions, room.taxonomy), detections_of(image.regions, room.taxonomy))
        for regions, image in zip(found, images, strict=True)
    ]
    return metrics_of(compared, room.taxonomy.classes)
