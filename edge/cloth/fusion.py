"""Merge what detector and reference model found on a strip: one defect is one report.

The detector names a defect where it can. What only the reference model sees is `unclassified`, with its
shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.core.components import components
from edge.core.detections import NO_SHAPE, SHAPES, Detections, Shape, concatenate, joined_shape
from edge.core.geometry import iou_matrix

Floats = NDArray[np.float32]

TOUCH_PX = 4.0
"""Boxes nearer than this touch: the jitter of the edges of both models' boxes."""

BLUR_PX = 16.0
"""The reference model pools its features, so that its boxes reach this far beyond a defect. What reaches
further beyond a detector's box is more of the defect than the detector has seen."""


class ReferenceRegions(Protocol):
    """Define what the reference model reports of a strip: see `edge.reference`.

    Attributes:
        boxes_xyxy_px: (N, 4) float32, tight.
        ratios: (N,), value over the level of its channel; 1 is at the threshold.
        shapes: N of them.
    """

    @property
    def boxes_xyxy_px(self) -> Floats: ...

    @property
    def ratios(self) -> Floats: ...

    @property
    def shapes(self) -> Sequence[Shape]: ...


def score_from_ratio(ratios: Floats) -> Floats:
    """Return r / (1 + r): a score in [0, 1] whose threshold is 0.5."""
    ratios = np.asarray(ratios, np.float64)
    return np.asarray(1 - 1 / (1 + ratios), np.float32)


def fuse(found: Detections, regions: ReferenceRegions, unclassified_id: int) -> Detections:
    """Merge the detections and the regions of one strip.

    A region belongs to the detection that it touches and overlaps best, or to that of a region that it
    touches. Detections of one class that one region connects are one defect; those of different classes
    stay apart. Regions that touch no detection, not even by way of others, are `unclassified`: those that
    touch each other are one defect, but for lines of different directions.

    A detector's box is exact and that of a region is blurred by pooling, so a report has the detector's
    sides but for those beyond which a region reaches further than its blur: a long line of which the
    detector has named a part is as long as the line. Its score is the highest of both.

    Args:
        found: the detector's, of which each is one defect.
        regions: the reference model's, in pixels of the same strip.
        unclassified_id: of `unclassified` among the class names of the run.
    Returns:
        Reports by falling score, then from left to right. Their number is at most that of detections and
        regions; a strip without regions is returned as it is.
    """
    if not len(regions.ratios):
        return found
    parts = concatenate([found, _as_detections(regions, unclassified_id)])
    boxes = parts.boxes_xyxy_px
    touch, overlap = _touching(boxes, boxes), iou_matrix(boxes, boxes)
    owners = _owners(parts, len(found), touch, overlap)
    groups = components(len(parts), _pairs(parts, len(found), touch, owners))
    reports = concatenate(
        [_report(parts, np.flatnonzero(groups == group), len(found)) for group in np.unique(groups)]
    )
    return reports.take(np.lexsort((*reports.boxes_xyxy_px.T[::-1], -reports.scores)))


def _as_detections(regions: ReferenceRegions, unclassified_id: int) -> Detections:
    count = len(regions.ratios)
    return Detections(
        np.asarray(regions.boxes_xyxy_px, np.float32).reshape(-1, 4),
        score_from_ratio(regions.ratios),
        np.full(count, unclassified_id, np.int64),
        np.array([SHAPES.index(shape) for shape in regions.shapes], np.int64),
    )


def _touching(a_xyxy: Floats, b_xyxy: Floats) -> NDArray[np.bool_]:
    """Tell of each pair of boxes whether they overlap or lie nearer than `TOUCH_PX`."""
    low = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    high = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    return np.asarray((high - low >= -TOUCH_PX).all(axis=2), np.bool_)


def _owners(
    parts: Detections, detections: int, touch: NDArray[np.bool_], overlap: Floats
) -> dict[int, int]:
    """Return region -> detection that it belongs to, for those that touch any.

    Whatever has two candidates that fit equally well takes the one that scores higher, then the one that
    lies further to the left and up: the order in which they are given does not matter.
    """
    rank = np.empty(len(parts), np.int64)
    rank[np.lexsort((*parts.boxes_xyxy_px.T[::-1], -parts.scores))] = np.arange(len(parts))
    owners: dict[int, int] = {}
    for region in range(detections, len(parts)):
        near = np.flatnonzero(touch[region, :detections]).tolist()
        if near:
            owners[region] = min(near, key=lambda one: (-overlap[region, one], rank[one]))
    while True:
        further = {}
        for region in set(range(detections, len(parts))) - owners.keys():
            near = [one for one in np.flatnonzero(touch[region]).tolist() if one in owners]
            if near:
                further[region] = owners[min(near, key=lambda one: (-overlap[region, one], rank[one]))]
        if not further:
            return owners
        owners |= further


def _pairs(
    parts: Detections, detections: int, touch: NDArray[np.bool_], owners: dict[int, int]
) -> Iterator[tuple[int, int]]:
    """Yield what belongs together: regions and their detections, and regions that have none."""
    for region in range(detections, len(parts)):
        if region in owners:
            yield region, owners[region]
            for other in np.flatnonzero(touch[region, :detections]).tolist():
                if parts.class_ids[other] == parts.class_ids[owners[region]]:
                    yield region, other
            continue
        for other in np.flatnonzero(touch[region, detections:region]).tolist():
            if detections + other not in owners and not _cross(parts, region, detections + other):
                yield region, detections + other


def _cross(parts: Detections, one: int, other: int) -> bool:
    return {parts.shapes[one], parts.shapes[other]} == {"warp line", "weft line"}


def _report(parts: Detections, members: NDArray[np.int64], detections: int) -> Detections:
    """Make one report of a group."""
    if len(members) == 1:
        return parts.take(members)
    named, blurred = members[members < detections], members[members >= detections]
    score = parts.scores[members].max(keepdims=True)
    around = _around(parts.boxes_xyxy_px[blurred])
    if not len(named):
        shape = joined_shape([parts.shapes[one] for one in blurred.tolist()])
        ids = np.array([NO_SHAPE if shape is None else SHAPES.index(shape)])
        return Detections(around[None], score, parts.class_ids[blurred[:1]], ids)
    exact = _around(parts.boxes_xyxy_px[named])
    further = np.concatenate([exact[:2] - around[:2], around[2:] - exact[2:]]) > BLUR_PX
    box = np.where(further, around, exact)
    return replace(parts.take(named[:1]), boxes_xyxy_px=box[None], scores=score)


def _around(boxes_xyxy: Floats) -> Floats:
    return np.concatenate([boxes_xyxy[:, :2].min(axis=0), boxes_xyxy[:, 2:].max(axis=0)])
