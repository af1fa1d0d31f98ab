"""Fuse what several annotators say about one image into one opinion, with those who agreed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from distill.labels.sets.annotations import AGREED, BoxXyxy, Region
from edge.core.geometry import Boxes, iou_matrix

Method = Literal["weighted", "best"]


@dataclass(frozen=True, slots=True)
class Fusion:
    """Fuse boxes of one image across annotators whose scores are calibrated probabilities.

    Attributes:
        method: ``weighted`` averages boxes by score (weighted boxes fusion; Solovyev et al., 2021), and an
            annotator that saw nothing there counts as a 0; ``best`` keeps the box that scores highest.
        iou_threshold: boxes of one class that overlap more are one thing.
        weights: how much an annotator counts, by name; 1 for those not named.
    """

    method: Method = "weighted"
    iou_threshold: float = 0.5
    weights: Mapping[str, float] | None = None

    def fuse(
        self, opinions: Mapping[str, Sequence[Region]], size_hw_px: tuple[int, int]
    ) -> tuple[Region, ...]:
        """Fuse the regions of one image.

        Args:
            opinions: annotator name -> its regions, each with a score and a label of the taxonomy. An
                annotator that looked and found nothing is there with none. A region without any area inside
                the image, as a box that a detector draws below its edge, is nothing.
            size_hw_px: of the image.
        Returns:
            Regions by falling score; `annotator` names all that found it, joined by `AGREED`. Category,
            phrase and polygon are those of the best of them.
        Raises:
            ValueError: if a region has no score.
        """
        opinions = {
            name: [region for region in regions if _shows(region, size_hw_px)]
            for name, regions in opinions.items()
        }
        names = sorted(opinions)
        regions = [region for name in names for region in opinions[name]]
        if any(region.score is None for region in regions):
            raise ValueError("only regions with a score can be fused")
        if not regions:
            return ()
        classes = sorted({region.label for region in regions})
        boxes, scores, labels = self._fused([opinions[name] for name in names], names, classes, size_hw_px)
        fused = [
            self._described(box, float(score), classes[int(label)], opinions)
            for box, score, label in zip(boxes, scores, labels, strict=True)
        ]
        return tuple(sorted(fused, key=lambda region: (-(region.score or 0.0), region.box_xyxy_px)))

    def _fused(
        self,
        lists: Sequence[Sequence[Region]],
        names: Sequence[str],
        classes: Sequence[str],
        size_hw_px: tuple[int, int],
    ) -> tuple[Boxes, np.ndarray, np.ndarray]:
        """Hand the lists to the library and bring its boxes back to pixels.

        Of one annotator alone nothing is averaged: of its boxes of one thing the best stays.
        """
        sides = np.array([size_hw_px[1], size_hw_px[0]] * 2, np.float64)
        normalised = [
            (np.array([region.box_xyxy_px for region in one]).reshape(-1, 4) / sides).clip(0, 1)
            for one in lists
        ]
        scores = [np.array([region.score for region in one], np.float64) for one in lists]
        labels = [np.array([classes.index(region.label) for region in one], np.int64) for one in lists]
        weights = [(self.weights or {}).get(name, 1.0) for name in names]
        if self.method == "weighted" and len(lists) > 1:
            from ensemble_boxes import weighted_boxes_fusion  # imports a compiler

            result = weighted_boxes_fusion(
                normalised, scores, labels, weights=weights, iou_thr=self.iou_threshold, skip_box_thr=0.0
            )
        else:
            result = _best_of(
                np.concatenate(normalised),
                np.concatenate(scores),
                np.concatenate(labels),
                self.iou_threshold,
            )
        boxes, fused_scores, fused_labels = result
        return boxes * sides, fused_scores, fused_labels

    def _described(
        self, box: np.ndarray, score: float, label: str, opinions: Mapping[str, Sequence[Region]]
    ) -> Region:
        """Say of a fused box who found it, and take what else is known from the best of them."""
        fused: BoxXyxy = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
        supporters = {
            name: best
            for name, regions in opinions.items()
            if (best := _best_overlapping(fused, label, regions, self.iou_threshold)) is not None
        }
        found_by = AGREED.join(sorted(supporters)) or None
        if not supporters:
            return Region(label, fused, score=score)
        best = max(supporters.values(), key=lambda region: region.score or 0.0)
        return replace(best, box_xyxy_px=fused, score=min(score, 1.0), annotator=found_by)


def _shows(region: Region, size_hw_px: tuple[int, int]) -> bool:
    """Tell whether any of a region's area lies inside the image."""
    (height, width), (x1, y1, x2, y2) = size_hw_px, region.box_xyxy_px
    return min(x2, width) > max(x1, 0) and min(y2, height) > max(y1, 0)


def _best_of(
    boxes: Boxes, scores: np.ndarray, labels: np.ndarray, iou_threshold: float
) -> tuple[Boxes, np.ndarray, np.ndarray]:
    """Suppress, class by class, boxes that overlap a better one.

    The library's own is compiled by numba when it is first called: 15 s of processor time in each run.
    """
    xywh = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    kept = cv2.dnn.NMSBoxesBatched(xywh.tolist(), scores.tolist(), labels.tolist(), -1.0, iou_threshold)
    chosen = np.asarray(kept, np.int64).reshape(-1)
    return boxes[chosen], scores[chosen], labels[chosen]


def _best_overlapping(
    box: BoxXyxy, label: str, regions: Sequence[Region], iou_threshold: float
) -> Region | None:
    """Return the highest-scoring region of this label that is the same thing as the box."""
    same = [region for region in regions if region.label == label]
    if not same:
        return None
    ious = iou_matrix(
        np.asarray([box], np.float32), np.asarray([region.box_xyxy_px for region in same], np.float32)
    )[0]
    overlapping = [r for r, iou in zip(same, ious, strict=True) if iou >= 0.99 * iou_threshold]
    return max(overlapping, key=lambda region: region.score or 0.0, default=None)
