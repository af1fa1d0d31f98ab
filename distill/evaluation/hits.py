"""Tell which reports point at which defects: the one rule for all counts of found and false."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.core.geometry import Boxes, iou_matrix

LOCATED_IOU = 0.1
"""Overlap from which a report points at a defect. A person looks at the spot, and a box two pixels beside a
broken end of three pixels still points at it."""

HIT_RULE = f"IoU of {LOCATED_IOU} or more, or the centre of the report inside the defect"


def points_at(found: Boxes, ground_truth: Boxes) -> NDArray[np.bool_]:
    """Tell which detections point at which defects: by an IoU of `LOCATED_IOU`, or a centre inside.

    Args:
        found: (N, 4) xyxy; ground truth: (M, 4), in the same pixels.
    Returns:
        (N, M) bool.
    """
    centres = (found[:, None, :2] + found[:, None, 2:]) / 2
    inside = ((centres >= ground_truth[None, :, :2]) & (centres <= ground_truth[None, :, 2:])).all(axis=2)
    return np.asarray(inside | (iou_matrix(found, ground_truth) >= LOCATED_IOU))
