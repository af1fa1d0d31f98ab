"""Find boxes that cover one another nearly wholly: one defect that was labelled twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from distill.labels.sets.annotations import Region

DUPLICATE_IOU: Final = 0.95
"""Two boxes of one class that cover each other by so much are one defect labelled twice."""


def duplicates(regions: Sequence[Region]) -> Iterator[tuple[int, int]]:
    """Name each box that is another one of its class once more.

    Boxes are compared along x alone with those that begin near enough, so that a file of 300,000 rows takes
    seconds.

    Returns:
        Pairs of positions, the smaller one first, in order; a box that is several others again is named
        with one of them.
    """
    by_label: dict[str, list[int]] = defaultdict(list)
    for position, region in enumerate(regions):
        by_label[region.label].append(position)
    pairs = []
    for positions in by_label.values():
        boxes = np.array([regions[position].box_xyxy_px for position in positions], np.float64)
        pairs += [
            (min(positions[a], positions[b]), max(positions[a], positions[b])) for a, b in _pairs(boxes)
        ]
    yield from sorted(pairs)


def _pairs(boxes: NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    order = np.lexsort((np.arange(len(boxes)), boxes[:, 0]))
    boxes = boxes[order]
    widths = boxes[:, 2] - boxes[:, 0]
    reach = np.maximum(widths, 0) * (1 - DUPLICATE_IOU) / DUPLICATE_IOU
    first = np.searchsorted(boxes[:, 0], boxes[:, 0] - reach)
    for number in np.flatnonzero(first < np.arange(len(boxes))).tolist():
        overlaps = _iou(boxes[number], boxes[first[number] : number])
        alike = np.flatnonzero(overlaps >= DUPLICATE_IOU)
        if len(alike):
            yield int(order[first[number] + alike[0]]), int(order[number])


def _iou(box: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute intersection over union of a box with others; 1 for equal ones without area."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.where((sides > 0).all(axis=1), sides.prod(axis=1), 0.0)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + areas - shared
    ratio = np.divide(shared, union, out=np.zeros(len(others)), where=union > 0)
    return np.asarray(np.where((others == box).all(axis=1), 1.0, ratio))
