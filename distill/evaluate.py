"""How good a detector is on tiles: mean average precision, and the threshold each class works best at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distill.detector.build import infer
from distill.tiles import TilePlan, truth_batches
from distill.ultralytics_door import ap_per_class
from edge.contract import ModelContract
from edge.decode import decode_view
from edge.detections import Detections, concatenate
from edge.geometry import iou_matrix

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""Those of COCO: mAP50 uses the first, mAP50-95 the mean over all."""

SCORE_FLOOR = 0.01
"""Scores below this are not evaluated; the curve above it is what a working threshold is chosen on."""

THRESHOLD_FLOOR, THRESHOLD_CAP = 0.05, 0.9
DEFAULT_THRESHOLD = 0.25
"""For a class that the validation split does not show."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """Hold what a validation gave.

    Attributes:
        map50, map50_95: mean over the classes the split shows; 0 if it shows none.
        ap50: per class name, for the classes the split shows.
        thresholds: per class name, the score with the best F1.
    """

    map50: float
    map50_95: float
    ap50: dict[str, float]
    thresholds: dict[str, float]

    @property
    def fitness(self) -> float:
        """The number that makes one epoch better than another.

        The mean of both: mAP50-95 alone asks for pixel-exact boxes of yarns three pixels wide.
        """
        return (self.map50 + self.map50_95) / 2


def validate(
    module: nn.Module, plan: TilePlan, contract: ModelContract, device: torch.device, batch: int = 32
) -> Metrics:
    """Run a detector in eval mode over every tile of a split and score it."""
    floor = np.full(len(contract.class_names), SCORE_FLOOR, np.float32)
    hits, found, truths = [], [], []
    for images, batch_truths in truth_batches(plan, contract, batch):
        with torch.inference_mode():
            tensors = infer(module, torch.from_numpy(images).to(device))
        boxes, scores = (tensor.float().cpu().numpy() for tensor in tensors)
        for tile_boxes, tile_scores, truth in zip(boxes, scores, batch_truths, strict=True):
            seen = decode_view(tile_boxes, tile_scores, floor, contract.iou_threshold)
            hits.append(match(seen, truth))
            found.append(seen)
            truths.append(truth)
    return _metrics(np.concatenate(hits), concatenate(found), concatenate(truths), contract)


def match(found: Detections, truth: Detections) -> NDArray[np.bool_]:
    """Tell which detections are right, at each of the IoU thresholds.

    As COCO does: by falling score, each takes the free truth of its class that it overlaps most.

    Returns:
        (N, 10) bool.
    """
    right = np.zeros((len(found), len(IOU_THRESHOLDS)), bool)
    if not len(found) or not len(truth):
        return right
    overlap = iou_matrix(found.boxes_xyxy_px, truth.boxes_xyxy_px)
    overlap[found.class_ids[:, None] != truth.class_ids[None]] = 0
    for column, threshold in enumerate(IOU_THRESHOLDS):
        free = np.ones(len(truth), bool)
        for row in np.argsort(-found.scores, kind="stable"):
            candidates = overlap[row] * free
            best = int(candidates.argmax())
            if candidates[best] >= threshold:
                right[row, column], free[best] = True, False
    return right


def _metrics(
    hits: NDArray[np.bool_], found: Detections, truth: Detections, contract: ModelContract
) -> Metrics:
    names = contract.class_names
    thresholds = dict.fromkeys(names, DEFAULT_THRESHOLD)
    if not len(truth):
        return Metrics(0.0, 0.0, {}, thresholds)
    result = ap_per_class(
        hits.astype(np.float64), found.scores, found.class_ids, truth.class_ids.astype(np.int64)
    )
    average_precision, present, f1_curves, scores = result[5], result[6], result[9], result[10]
    for class_id, f1 in zip(present, f1_curves, strict=True):
        if f1.max() > 0:
            thresholds[names[class_id]] = best_threshold(f1, scores)
    return Metrics(
        map50=float(average_precision[:, 0].mean()),
        map50_95=float(average_precision.mean()),
        ap50={names[c]: float(ap[0]) for c, ap in zip(present, average_precision, strict=True)},
        thresholds=thresholds,
    )


def best_threshold(f1: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    """Choose the middle of the scores whose F1 is within 1 % of the best, within floor and cap.

    The middle, not the peak: with few validation pictures the peak is one lucky score.
    """
    good = scores[f1 >= 0.99 * f1.max()]
    return round(float(np.clip(np.median(good), THRESHOLD_FLOOR, THRESHOLD_CAP)), 3)
