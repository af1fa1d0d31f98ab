"""Count what a label set holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from distill.labels.sets.annotations import NOT_TRAINED_ON, LabelSet, Region

PERCENTILES = (5, 50, 95)
SCORE_BINS = 10
NO_SPLIT = "not split"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Hold the sizes of the boxes of one class.

    Attributes:
        width_px: 5th, 50th and 95th percentile.
        height_px: the same.
    """

    width_px: tuple[float, ...]
    height_px: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Stats:
    """Hold the counts of a label set; rejected and queued boxes count in `reviews` alone.

    Attributes:
        images: by split.
        clean_images: those without a defect and without a queued box, by split.
        boxes: by class, then split; every class and every split stands in it.
        categories: boxes by class, then category; "" where it is not known.
        groups: images by group, the largest first.
        sizes: by class, for classes with boxes.
        reviews: boxes by review state.
        annotators: boxes by annotator; "" where it is not known.
        scores: boxes by score in ten bins from 0 to 1.
        mm_per_px: None if not known.
    """

    images: dict[str, int]
    clean_images: dict[str, int]
    boxes: dict[str, dict[str, int]]
    categories: dict[str, dict[str, int]]
    groups: dict[str, int]
    sizes: dict[str, Sizes]
    reviews: dict[str, int]
    annotators: dict[str, int]
    scores: tuple[int, ...]
    mm_per_px: float | None


def stats_of(label_set: LabelSet) -> Stats:
    """Count a label set."""
    images: Counter[str] = Counter()
    clean: Counter[str] = Counter()
    boxes: Counter[tuple[str, str]] = Counter()
    for image in label_set.images:
        split = image.split or NO_SPLIT
        held = _held(image.regions)
        images[split] += 1
        clean[split] += all(region.review == "rejected" for region in image.regions)
        boxes.update((region.label, split) for region in held)
    everything = [region for image in label_set.images for region in image.regions]
    regions = _held(everything)
    return Stats(
        images=dict(images),
        clean_images=dict(clean),
        boxes={name: {split: boxes[name, split] for split in images} for name in label_set.class_names},
        categories={
            name: dict(Counter(r.category or "" for r in regions if r.label == name).most_common())
            for name in label_set.class_names
        },
        groups=dict(Counter(image.group for image in label_set.images if image.group).most_common()),
        sizes=_sizes(label_set.class_names, regions),
        reviews=dict(Counter(region.review for region in everything)),
        annotators=dict(Counter(region.annotator or "" for region in regions)),
        scores=_histogram(region.score for region in regions if region.score is not None),
        mm_per_px=label_set.mm_per_px,
    )


def _held(regions: Iterable[Region]) -> list[Region]:
    return [region for region in regions if region.review not in NOT_TRAINED_ON]


def _sizes(class_names: Sequence[str], regions: Sequence[Region]) -> dict[str, Sizes]:
    sizes = {}
    for name in class_names:
        boxes = np.array([region.box_xyxy_px for region in regions if region.label == name])
        if len(boxes):
            sides = np.abs(boxes[:, 2:] - boxes[:, :2])
            width_px, height_px = np.percentile(sides, PERCENTILES, axis=0).T.tolist()
            sizes[name] = Sizes(tuple(width_px), tuple(height_px))
    return sizes


def _histogram(scores: Iterable[float]) -> tuple[int, ...]:
    counts, _ = np.histogram(list(scores), bins=SCORE_BINS, range=(0, 1))
    return tuple(int(count) for count in counts)
