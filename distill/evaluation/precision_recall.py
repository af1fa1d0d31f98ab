"""Draw precision over recall for each class, as the score threshold falls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from distill.core.figures import Diagram, plain
from distill.evaluation.evaluate import match
from edge.core.detections import Detections, concatenate
from edge.core.palette import class_colour

CURVE_IOU = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Hold one class's curve; point k reports the k + 1 boxes of the highest scores.

    Attributes:
        recall, precision, scores: (N,) each.
        defects: how many there are to find.
    """

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    scores: NDArray[np.float32]
    defects: int


def precision_recall(
    compared: Sequence[tuple[Detections, Detections]], names: Sequence[str]
) -> dict[str, Curve]:
    """Return the curves of the classes that the split shows.

    Args:
        compared: per tile, what was found, at whatever score, and the ground truth.
    """
    detections = concatenate([ours for ours, _ in compared])
    ground_truth = concatenate([theirs for _, theirs in compared])
    if not len(ground_truth):
        return {}
    right = np.concatenate([match(*pair, np.array([CURVE_IOU])) for pair in compared])[:, 0]
    curves = {}
    for class_id, name in enumerate(names):
        mine, defects = detections.class_ids == class_id, int((ground_truth.class_ids == class_id).sum())
        if defects:
            order = np.argsort(-detections.scores[mine], kind="stable")
            hits = np.cumsum(right[mine][order])
            reported = np.arange(1, len(hits) + 1)
            curves[name] = Curve(hits / defects, hits / reported, detections.scores[mine][order], defects)
    return curves


def draw_precision_recall(curves: dict[str, Curve], thresholds: Mapping[str, float]) -> Figure:
    """Draw all classes; a dot marks the working threshold."""
    figure = Diagram((5.5, 5))
    axes: Any = figure.subplots()
    for name, curve in curves.items():
        colour, label = class_colour(name).hex, f"{plain(name)} ({curve.defects})"
        axes.plot(curve.recall, curve.precision, label=label, color=colour)
        reported = int((curve.scores >= thresholds[name]).sum())
        if reported:
            at = (curve.recall[reported - 1], curve.precision[reported - 1])
            axes.plot(*at, "o", color=colour)
    axes.set(xlim=(0, 1.01), ylim=(0, 1.01), xlabel="recall", ylabel=f"precision, IoU {CURVE_IOU}")
    axes.grid(alpha=0.3)
    if curves:
        axes.legend(loc="lower left")
    return figure
