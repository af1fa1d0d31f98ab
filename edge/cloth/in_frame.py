"""Make one detection of what is one defect of several classes in a frame: see `edge.cloth.one_report`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edge.cloth.one_report import LEAST_RATIO, MOSTLY
from edge.core.components import components
from edge.core.detections import Detections, concatenate
from edge.core.geometry import box_areas

Floats = NDArray[np.float32]

REACH_PX = 4.0
"""The larger of two boxes is widened by this before they are compared: the jitter of a box's edge."""

LINE_RATIO = 3.0
"""Length over breadth from which a box is a line."""

LEAST_AREA_PX = 1.0
ROWS_AT_ONCE = 256


def one_each(found: Detections, frame_hw_px: tuple[int, int]) -> Detections:
    """Make one detection of what is one defect of several classes.

    A box that lies mostly within a larger one of another class is part of it, but for a line that runs out
    of the frame: whether that crosses the larger one or ends in it shows on the roll.

    Args:
        found: in pixels of a frame; those of one class are merged already.
        frame_hw_px: its height and width.
    Returns:
        Detections by falling score, then from left to right.
    """
    groups = components(len(found), _pairs(found, frame_hw_px))
    members = np.bincount(groups, minlength=len(found))
    if not (members > 1).any():
        return found
    alone = found.take(members[groups] == 1)
    joined = [_joined(found.take(groups == group)) for group in np.flatnonzero(members > 1)]
    merged = concatenate([alone, *joined])
    return merged.take(np.lexsort((*merged.boxes_xyxy_px.T[::-1], -merged.scores)))


def _pairs(found: Detections, frame_hw_px: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield pairs of positions of which the first lies mostly within the second, of another class."""
    boxes, scores, ids = found.boxes_xyxy_px, found.scores, found.class_ids
    areas = np.maximum(box_areas(boxes), LEAST_AREA_PX)
    widened = boxes + np.array([-1, -1, 1, 1], np.float32) * REACH_PX
    inner = np.flatnonzero(~_runs_out(boxes, frame_hw_px))
    for first in range(0, len(inner), ROWS_AT_ONCE):
        rows = inner[first : first + ROWS_AT_ONCE, None]
        low = np.maximum(boxes[rows, :2], widened[None, :, :2])
        high = np.minimum(boxes[rows, 2:], widened[None, :, 2:])
        is_part = np.prod(np.clip(high - low, 0, None), axis=2) >= MOSTLY * areas[rows]
        is_part &= (areas[rows] <= areas) & (ids[rows] != ids) & (scores >= LEAST_RATIO * scores[rows])
        for row, other in np.argwhere(is_part).tolist():
            yield int(rows[row, 0]), other


def _runs_out(boxes_xyxy_px: Floats, frame_hw_px: tuple[int, int]) -> NDArray[np.bool_]:
    """Tell of each box whether it is a line that ends at an edge of the frame."""
    sides = boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]
    end_px = np.array(frame_hw_px[::-1], np.float32) - REACH_PX
    at_edge = (boxes_xyxy_px[:, :2] <= REACH_PX) | (boxes_xyxy_px[:, 2:] >= end_px)
    is_long = sides >= LINE_RATIO * sides[:, ::-1]
    return np.asarray((at_edge & is_long).any(axis=1), np.bool_)


def _joined(group: Detections) -> Detections:
    weights = np.bincount(group.class_ids, group.scores * box_areas(group.boxes_xyxy_px))
    box = np.concatenate([group.boxes_xyxy_px[:, :2].min(axis=0), group.boxes_xyxy_px[:, 2:].max(axis=0)])
    return Detections(box[None], group.scores.max(keepdims=True), np.array([weights.argmax()]))
