"""Fit anchors to the boxes of a data set: k-means on width and height, and how many are worth having.

The distance is 1 - IoU of two boxes with the same centre (Redmon and Farhadi, YOLO9000, 2017, section 2),
so that large boxes do not count for more than small ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Sides = NDArray[np.float64]
"""(N, 2) width and height in pixels of the network's input, above 0."""

GREATEST_RATIO = 4.0
"""The coupled head matches a box to an anchor if neither side is so many times the other's (YOLOv5)."""

MOST_ROUNDS = 300
STARTS = 5
"""k-means ends in the nearest valley; the best of so many starts is kept."""


@dataclass(frozen=True, slots=True)
class AnchorFit:
    """Say how well so many anchors fit the boxes.

    Attributes:
        anchors_px: (width, height), the smallest area first.
        mean_iou: of each box and the anchor that overlaps it most.
        best_possible_recall: fraction of the boxes that fit an anchor within the ratio: the others cannot
            be learnt by the coupled head.
    """

    anchors_px: tuple[tuple[float, float], ...]
    mean_iou: float
    best_possible_recall: float


def elbow(sides_px: Sides, most: int, seed: int) -> list[AnchorFit]:
    """Fit 1, 2, ... `most` anchors, or as many as there are different boxes.

    Raises:
        ValueError: if there are no boxes, or a side is not above 0.
    """
    if not len(sides_px) or not (sides_px > 0).all():
        raise ValueError("anchors need boxes, and boxes sides above 0")
    different = len(np.unique(sides_px, axis=0))
    return [fitted(sides_px, count, seed) for count in range(1, min(most, different) + 1)]


def fitted(sides_px: Sides, count: int, seed: int) -> AnchorFit:
    """Fit anchors to boxes.

    Args:
        sides_px: at least `count` different rows.
        count: of anchors.
        seed: the same one gives the same anchors.
    """
    rng = np.random.default_rng(seed)
    tried = [_k_means(sides_px, _start(sides_px, count, rng)) for _ in range(STARTS)]
    best = max(tried, key=lambda anchors: mean_iou(sides_px, anchors))
    ordered = best[np.argsort(best.prod(axis=1), kind="stable")]
    return fit_of(sides_px, ordered)


def fit_of(sides_px: Sides, anchors_px: Sides) -> AnchorFit:
    """Say how well given anchors fit boxes."""
    ratios = sides_px[:, None] / anchors_px[None]
    worst = np.maximum(ratios, 1 / ratios).max(axis=2)
    return AnchorFit(
        anchors_px=tuple((float(width), float(height)) for width, height in anchors_px),
        mean_iou=mean_iou(sides_px, anchors_px),
        best_possible_recall=float((worst.min(axis=1) < GREATEST_RATIO).mean()),
    )


def mean_iou(sides_px: Sides, anchors_px: Sides) -> float:
    """Return the mean overlap of each box and its best anchor, both with the same centre."""
    return float(sides_iou(sides_px, anchors_px).max(axis=1).mean())


def sides_iou(a_px: Sides, b_px: Sides) -> NDArray[np.float64]:
    """Return the intersection over union of (N, 2) and (M, 2) boxes with one centre: (N, M)."""
    shared = np.minimum(a_px[:, None], b_px[None]).prod(axis=2)
    union = a_px.prod(axis=1)[:, None] + b_px.prod(axis=1)[None] - shared
    return np.asarray(shared / union)


def knee(values: Sequence[float]) -> int:
    """Return the position of the bend of a rising curve: the point farthest above its chord."""
    heights = np.asarray(values, np.float64)
    line = np.linspace(heights[0], heights[-1], len(heights))
    return int((heights - line).argmax())


def _start(sides: Sides, count: int, rng: np.random.Generator) -> Sides:
    """Draw boxes to start from, far from each other (Arthur and Vassilvitskii, k-means++, 2007)."""
    chosen = [int(rng.integers(len(sides)))]
    while len(chosen) < count:
        far = (1 - sides_iou(sides, sides[chosen]).max(axis=1)).clip(min=0)
        far[chosen] = 0
        if not far.sum() > 0:  # overlaps rounded to 1: any box that is not taken yet
            far = np.ones(len(sides))
            far[chosen] = 0
        chosen.append(int(rng.choice(len(sides), p=far / far.sum())))
    return np.asarray(sides[chosen])


def _k_means(sides: Sides, anchors: Sides) -> Sides:
    """Move anchors to the mean of their boxes until none changes hands; return the best of the way."""
    best, best_iou, owner = anchors, mean_iou(sides, anchors), np.full(len(sides), -1)
    for _ in range(MOST_ROUNDS):
        nearest = sides_iou(sides, anchors).argmax(axis=1)
        if (nearest == owner).all():
            break
        owner = nearest
        anchors = anchors.copy()
        for number in np.unique(nearest):
            anchors[number] = sides[nearest == number].mean(axis=0)
        now = mean_iou(sides, anchors)
        if now > best_iou:
            best, best_iou = anchors, now
    return best
