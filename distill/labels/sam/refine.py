"""Refine a label set: outlines and tight boxes in the place of boxes."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from distill.labels.sam.outliner import Outliner
from distill.labels.sets.annotations import AnnotatedImage, LabelSet
from distill.labels.sets.image_files import decoded
from distill.labels.sets.problems import Problems
from edge.core.errors import DatasetError
from edge.process.interruption import stopped_by_signals


@dataclass(frozen=True, slots=True)
class Refined:
    """Hold what came of a label set.

    Attributes:
        label_set: with the outlines; its problems name the images that could not be read and stay as they
            were.
        is_whole: False if a signal stopped it before the last image.
    """

    label_set: LabelSet
    is_whole: bool = True


def refine(label_set: LabelSet, outliner: Outliner) -> Refined:
    """Outline every region that has no outline yet.

    Args:
        label_set: boxes of images.
        outliner: draws.
    """
    problems = Problems(label_set.problems)
    images: list[AnnotatedImage] = []
    stop = threading.Event()
    with stopped_by_signals(stop):
        for image in label_set.images:
            if stop.is_set():
                break
            images.append(_refined(image, label_set, outliner, problems))
    return Refined(
        replace(label_set, images=tuple(images), problems=problems.by_file()),
        is_whole=len(images) == len(label_set.images),
    )


def _refined(
    image: AnnotatedImage, label_set: LabelSet, outliner: Outliner, problems: Problems
) -> AnnotatedImage:
    if not image.regions:
        return image
    try:
        pixels = decoded(label_set.root / image.file_name)
    except DatasetError as error:
        problems.add(image.file_name, f"left as it was: {error.problem}")
        return image
    return replace(image, regions=outliner.outline(pixels, image.regions))
