"""Measure reliability of scores: boxes against the ground truth, calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distill.labels.sets.annotations import Region
from edge.core.geometry import iou_matrix

BINS = 10
"""Of equal width, as in Guo et al. 2017."""

RIGHT_IOU = 0.5


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Compare what boxes of like score claim with what is true of them."""

    mean_score: float
    fraction_right: float
    count: int


def judge(
    found: Sequence[Region], ground_truth: Sequence[Region], iou_threshold: float = RIGHT_IOU
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Judge the boxes of one image: by falling score, each takes the free ground truth of its label that
    fits.

    Args:
        found: with scores.
        ground_truth: what a person says, rejected regions left out.
        iou_threshold: least overlap of a right box.
    Returns:
        Scores and whether they are right, (N,) each, by falling score.
    """
    ranked = sorted(found, key=lambda region: -(region.score or 0.0))
    right = np.zeros(len(ranked), bool)
    scores = np.array([region.score or 0.0 for region in ranked], np.float64)
    if not ranked or not ground_truth:
        return scores, right
    overlap = iou_matrix(_boxes(ranked), _boxes(ground_truth))
    free = np.array([[a.label == b.label for b in ground_truth] for a in ranked])
    for row in range(len(ranked)):
        candidates = overlap[row] * free[row]
        best = int(candidates.argmax())
        if candidates[best] >= iou_threshold:
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
