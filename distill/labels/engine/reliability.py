"""Measure reliability of scores: boxes against the ground truth, calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distill.evaluation.hits import HIT_RULE, points_at
from distill.labels.sets.annotations import Region
from edge.core.geometry import iou_matrix

BINS = 10
"""Of equal width, as in Guo et al. 2017."""

RIGHT_IOU = 0.5

SMALL_PX = 32.0
"""A defect whose shorter side is below this is small, as COCO calls objects: no box of a network covers
half of a broken end of three pixels."""

RIGHT_RULE = (
    f"a box is right from an IoU of {RIGHT_IOU}; where the defect is thinner than {SMALL_PX:.0f} px, from "
    f"an {HIT_RULE}"
)


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Compare what boxes of like score claim with what is true of them."""

    mean_score: float
    fraction_right: float
    count: int


def judge(
    found: Sequence[Region], ground_truth: Sequence[Region], *, is_strict: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Judge the boxes of one image: by falling score, each takes the free ground truth of its label that
    fits, by `RIGHT_RULE`.

    Args:
        found: with scores.
        ground_truth: what a person says, rejected regions left out.
        is_strict: whether small defects want an overlap of `RIGHT_IOU`, too.
    Returns:
        Scores and whether they are right, (N,) each, by falling score.
    """
    ranked = sorted(found, key=lambda region: -(region.score or 0.0))
    right = np.zeros(len(ranked), bool)
    scores = np.array([region.score or 0.0 for region in ranked], np.float64)
    if not ranked or not ground_truth:
        return scores, right
    boxes, true_boxes = _boxes(ranked), _boxes(ground_truth)
    overlap = iou_matrix(boxes, true_boxes)
    fits = overlap >= RIGHT_IOU
    if not is_strict:
        is_small = (true_boxes[:, 2:] - true_boxes[:, :2]).min(axis=1) < SMALL_PX
        fits |= points_at(boxes, true_boxes) & is_small
    free = np.array([[a.label == b.label for b in ground_truth] for a in ranked])
    for row in range(len(ranked)):
        candidates = np.where(fits[row] & free[row], overlap[row], -1)
        best = int(candidates.argmax())
        if candidates[best] >= 0:
            right[row], free[:, best] = True, False
    return scores, right


def reliability(scores: ArrayLike, is_right: ArrayLike) -> list[ReliabilityBin]:
    """Sort boxes by score into bins of equal width over [0, 1]; empty bins are left out."""
    values, right = np.asarray(scores, np.float64), np.asarray(is_right, np.float64)
    numbers = np.minimum((values * BINS).astype(int), BINS - 1)
    return [
        ReliabilityBin(float(values[mine].mean()), float(right[mine].mean()), int(mine.sum()))
        for number in range(BINS)
        if (mine := numbers == number).any()
    ]


def expected_calibration_error(scores: ArrayLike, is_right: ArrayLike) -> float:
    """Return the mean distance between score and fraction of right boxes, over bins weighted by their
    boxes.

    0 for no boxes.
    """
    found = reliability(scores, is_right)
    total = sum(one.count for one in found)
    return (
        sum(one.count * abs(one.mean_score - one.fraction_right) for one in found) / total if total else 0.0
    )


def _boxes(regions: Sequence[Region]) -> NDArray[np.float32]:
    return np.array([region.box_xyxy_px for region in regions], np.float32).reshape(-1, 4)
