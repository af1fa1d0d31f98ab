"""Count which class was taken for which, at the working thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from distill.core.figures import Diagram, plain, shades
from edge.core.detections import Detections
from edge.core.geometry import iou_matrix
from edge.core.palette import INK, WHITE

CONFUSED_IOU = 0.3
"""Overlap from which a report and a defect are the same thing, whatever they are called."""

NOTHING = "nothing"
"""The row of false alarms, and the column of defects that were missed."""


def working(detections: Detections, names: Sequence[str], thresholds: Mapping[str, float]) -> Detections:
    """Keep what is reported at the working threshold of its class."""
    floors = np.array([thresholds[name] for name in names], np.float32)
    return detections.take(detections.scores >= floors[detections.class_ids])


def confusion_matrix(compared: Sequence[tuple[Detections, Detections]], classes: int) -> NDArray[np.int64]:
    """Count pairs of defect and report; the pair that overlaps most goes first, each is used once.

    Args:
        compared: per tile, what was reported and the ground truth.
    Returns:
        (classes + 1, classes + 1): row is the true class, column the reported one; the last of both is
        `NOTHING`.
    """
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    for detections, ground_truth in compared:
        rows, columns = _paired(ground_truth, detections)
        np.add.at(matrix, (ground_truth.class_ids[rows], detections.class_ids[columns]), 1)
        false_negatives = np.setdiff1d(np.arange(len(ground_truth)), rows)
        invented = np.setdiff1d(np.arange(len(detections)), columns)
        matrix[:classes, classes] += np.bincount(ground_truth.class_ids[false_negatives], minlength=classes)
        matrix[classes, :classes] += np.bincount(detections.class_ids[invented], minlength=classes)
    return matrix


def _paired(ground_truth: Detections, detections: Detections) -> tuple[list[int], list[int]]:
    overlap = iou_matrix(ground_truth.boxes_xyxy_px, detections.boxes_xyxy_px)
    rows: list[int] = []
    columns: list[int] = []
    while overlap.size and overlap.max() >= CONFUSED_IOU:
        row, column = (int(index) for index in np.unravel_index(overlap.argmax(), overlap.shape))
        rows.append(row)
        columns.append(column)
        overlap[row], overlap[:, column] = 0, 0
    return rows, columns


def draw_confusion(matrix: NDArray[np.int64], names: Sequence[str]) -> Figure:
    """Draw it, shaded by the fraction of each row."""
    labels = [*map(plain, names), NOTHING]
    figure = Diagram((1.2 * len(labels) + 2, 1.1 * len(labels) + 1.2))
    axes: Any = figure.subplots()
    fractions = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(fractions, cmap=shades(), vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("reported")
    axes.set_ylabel("true")
    for (row, column), count in np.ndenumerate(matrix):
        colour = (WHITE if fractions[row, column] > 0.5 else INK).hex
        axes.text(column, row, str(count), ha="center", va="center", color=colour)
    return figure
