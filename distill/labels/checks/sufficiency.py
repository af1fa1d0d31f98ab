"""Say what a data set has too little of, before an hour of training is spent on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from distill.labels.sets.annotations import NOT_TRAINED_ON, LabelSet
from edge.core.counted import counted

LEAST_BOXES: Final = 10
"""From so many boxes on, a class's own threshold weighs as much as the one that was there before."""

LEAST_CLEAN_IMAGES: Final = 10
"""Fewer images without a defect say little about false positives."""


def too_little_in(label_set: LabelSet) -> Iterator[str]:
    """Say of which classes there are too few boxes, and what else cannot be told from a label set.

    What stands in the test split is not trained on and does not count.
    """
    used = [image for image in label_set.images if image.split != "test"]
    boxes = Counter(
        region.label for image in used for region in image.regions if region.review not in NOT_TRAINED_ON
    )
    clean = sum(not image.regions for image in used)
    yield from too_little({name: boxes[name] for name in label_set.class_names}, clean, label_set.mm_per_px)


def too_little(boxes: Mapping[str, int], clean_images: int, mm_per_px: float | None) -> Iterator[str]:
    """Say what so many boxes per class, and so many images without a defect, cannot tell.

    Args:
        mm_per_px: of the images; None if not known.
    """
    for name, count in boxes.items():
        if count < LEAST_BOXES:
            number = counted(count, "box") if count else "no box"
            yield f"{name}: {number}; a threshold of its own needs {LEAST_BOXES}: label more"
    if not clean_images:
        yield "no image without a defect: false positives on clean cloth are not known; add some: --clean"
    elif clean_images < LEAST_CLEAN_IMAGES:
        images = counted(clean_images, "image")
        yield f"{images} without a defect: too few to tell of false positives; add some: --clean"
    if mm_per_px is None:
        yield "the scale is not known: false positives per square metre cannot be said; give --mm-per-px"
