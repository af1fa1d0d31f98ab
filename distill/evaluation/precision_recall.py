"""Draw precision over recall for each class, as the score threshold falls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from distill.core.figures import new_figure, plain
from distill.core.run_page import FIGURE_IN
from distill.evaluation.hits import points_at
from edge.core.detections import Detections
from edge.core.palette import INK, class_colour

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Hold one class's curve; point k is at the k + 1 reports of the highest scores.

    Attributes:
        recall: fraction of the defects of the class that those reports point at, (N,).
        precision: fraction of those reports that point at a defect of the class, (N,).
        scores: (N,).
        defects: how many there are to find.
    """

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    scores: NDArray[np.float32]
    defects: int


def precision_recall(
    compared: Sequence[tuple[Detections, Detections]], names: Sequence[str]
) -> dict[str, Curve]:
    """Return the curves of the classes that the images show.

    Args:
        compared: per image, what was found, at whatever score, and the ground truth.
    """
    curves = {}
    for class_id, name in enumerate(names):
        scores, hits, best = _of_class(compared, class_id)
        if len(best):
            order = np.argsort(-scores, kind="stable")
            reported = np.arange(1, len(order) + 1)
            recall = (best[None] >= scores[order][:, None]).mean(axis=1)
            curves[name] = Curve(recall, np.cumsum(hits[order]) / reported, scores[order], len(best))
    return curves


def _of_class(
    compared: Sequence[tuple[Detections, Detections]], class_id: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]]:
    """Return the scores of a class's reports, whether each is right, and each defect's best score or -1."""
    scores, hits, best = [np.zeros(0, np.float32)], [np.zeros(0, bool)], [np.zeros(0, np.float32)]
    for found, ground_truth in compared:
        ours = found.take(found.class_ids == class_id)
        theirs = ground_truth.take(ground_truth.class_ids == class_id)
        pointed = points_at(ours.boxes_xyxy_px, theirs.boxes_xyxy_px)
        scores.append(ours.scores)
        hits.append(np.asarray(pointed.any(axis=1)))
        best.append(np.where(pointed, ours.scores[:, None], -1).max(axis=0, initial=-1).astype(np.float32))
    return np.concatenate(scores), np.concatenate(hits), np.concatenate(best)


def draw_precision_recall(curves: Mapping[str, Curve], thresholds: Mapping[str, float]) -> Figure:
    """Draw all classes; a dot marks the working threshold."""
    from matplotlib import patheffects

    figure = new_figure(FIGURE_IN)
    axes: Any = figure.subplots()
    edge = [patheffects.withStroke(linewidth=3.5, foreground=INK.hex)]
    for name, curve in curves.items():
        label, colour = f"{plain(name)} ({curve.defects})", class_colour(name).hex
        axes.plot(curve.recall, curve.precision, label=label, color=colour, path_effects=edge)
        reported = int((curve.scores >= thresholds[name]).sum())
        if reported:
            at = (curve.recall[reported - 1], curve.precision[reported - 1])
            axes.plot(*at, "o", color=colour, markeredgecolor=INK.hex, markersize=9)
    axes.set(xlim=(-0.02, 1.03), ylim=(-0.02, 1.05), xlabel="recall", ylabel="precision")
    axes.grid(alpha=0.3)
    if curves:
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.18), ncols=2, frameon=False)
    return figure
