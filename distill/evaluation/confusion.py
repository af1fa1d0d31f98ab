"""Count which class was reported as which, at the score thresholds of the contract."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from distill.evaluation.hits import points_at
from edge.core.detections import Detections

NOTHING = "nothing"
"""The row of false positives, and the column of defects that were missed."""

Counts = NDArray[np.int64]


def confusion_matrix(compared: Sequence[tuple[Detections, Detections]], classes: int) -> Counts:
    """Count each defect once, and each report that points at no defect.

    A defect is counted under its own class if a report of that class points at it, else under the class of
    the report with the highest score that does.

    Args:
        compared: per image, the reports and the ground truth.
    Returns:
        (classes + 1, classes + 1): row is the true class, column the reported one; the last of both is
        `NOTHING`.
    """
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    for reported, ground_truth in compared:
        pointed = points_at(reported.boxes_xyxy_px, ground_truth.boxes_xyxy_px)
        for defect, true_class in enumerate(ground_truth.class_ids.tolist()):
            matrix[true_class, _reported_as(reported, pointed[:, defect], true_class, classes)] += 1
        false_positives = reported.class_ids[~pointed.any(axis=1)]
        matrix[classes, :classes] += np.bincount(false_positives, minlength=classes)
    return matrix


def _reported_as(reported: Detections, pointing: NDArray[np.bool_], true_class: int, nothing: int) -> int:
    """Return the class that a defect counts as reported under."""
    if not pointing.any():
        return nothing
    if (reported.class_ids[pointing] == true_class).any():
        return true_class
    best = int(np.argmax(np.where(pointing, reported.scores, -1)))
    return int(reported.class_ids[best])
