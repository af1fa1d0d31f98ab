"""Evaluate a detector on tiles: mean average precision, and the best threshold of each class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distill.data.tiles import TilePlan, ground_truth_batches
from distill.detector.build import infer
from distill.evaluation.hits import LOCATED_IOU
from distill.ultralytics_door import ap_per_class
from edge.core.contract import ModelContract
from edge.core.detections import Detections, concatenate
from edge.core.errors import TrainingError
from edge.core.geometry import iou_matrix
from edge.inference.decode import decode_view

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""Those of COCO: mAP50 uses the first, mAP50-95 the mean over all."""

SCORE_FLOOR = 0.01
"""Scores below this are not evaluated."""

THRESHOLD_FLOOR, THRESHOLD_CAP = 0.05, 0.9
DEFAULT_THRESHOLD = 0.25
"""For a class that the validation split does not show."""


Floats = NDArray[np.float32]
Run = Callable[[Floats], tuple[Floats, Floats]]


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


def validate(module: nn.Module, plan: TilePlan, contract: ModelContract, device: torch.device) -> Metrics:
    """Run a detector in eval mode over every tile of a split and score it.

    Raises:
        TrainingError: if it gives anything but finite numbers.
    """
    return metrics_of(found_and_ground_truth(module, plan, contract, device), contract.class_names)


def found_and_ground_truth(
    module: nn.Module, plan: TilePlan, contract: ModelContract, device: torch.device
) -> list[tuple[Detections, Detections]]:
    """Run a detector in eval mode; say per tile what it found from `SCORE_FLOOR` on, and the ground truth.

    Raises:
        TrainingError: if it gives anything but finite numbers.
    """

    def run(images: Floats) -> tuple[Floats, Floats]:
        with torch.inference_mode():
            boxes, scores = infer(module, torch.from_numpy(images).to(device))
        return boxes.float().cpu().numpy(), scores.float().cpu().numpy()

    return compared_with_ground_truth(run, plan, contract)


def compared_with_ground_truth(
    run: Run, plan: TilePlan, contract: ModelContract, batch: int = 32
) -> list[tuple[Detections, Detections]]:
    """Run a network on every tile; say of each what was found from `SCORE_FLOOR` on, and the ground truth.

    Args:
        run: gives boxes and scores of (B, channels, H, W) float32, on whatever runtime.
    Raises:
        TrainingError: if it gives anything but finite numbers.
    """
    floor = np.full(len(contract.class_names), SCORE_FLOOR, np.float32)
    compared: list[tuple[Detections, Detections]] = []
    for images, ground_truths in ground_truth_batches(plan, contract, batch):
        boxes, scores = run(images)
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise TrainingError(
                "The detector has diverged: what it says are no finite numbers.",
                "Lower learning_rate; checkpoints of earlier epochs stay.",
            )
        for tile_boxes, tile_scores, ground_truth in zip(boxes, scores, ground_truths, strict=True):
            compared.append(
                (decode_view(tile_boxes, tile_scores, floor, contract.iou_threshold), ground_truth)
            )
    return compared


def metrics_of(compared: Sequence[tuple[Detections, Detections]], names: Sequence[str]) -> Metrics:
    """Score what was found against the ground truth, tile by tile.

    Args:
        compared: per tile, what was found with a score of at least `SCORE_FLOOR`, and the ground truth.
        names: of the classes, in the order of their ids.
    """
    detections = concatenate([ours for ours, _ in compared])
    ground_truth = concatenate([theirs for _, theirs in compared])
    thresholds = dict.fromkeys(names, DEFAULT_THRESHOLD)
    if not len(ground_truth):
        return Metrics(0.0, 0.0, {}, thresholds)
    right = np.concatenate([match(*pair, IOU_THRESHOLDS) for pair in compared])
    located = np.concatenate([match(*pair, np.array([LOCATED_IOU])) for pair in compared])[:, 0]
    for class_id, name in enumerate(names):
        mine, total = detections.class_ids == class_id, int((ground_truth.class_ids == class_id).sum())
        if total and located[mine].any():
            thresholds[name] = best_threshold(detections.scores[mine], located[mine], total)
    result = ap_per_class(
        right.astype(np.float64),
        detections.scores,
        detections.class_ids,
        ground_truth.class_ids.astype(np.int64),
    )
    average_precision, present = result[5], result[6]
    return Metrics(
        map50=float(average_precision[:, 0].mean()),
        map50_95=float(average_precision.mean()),
        ap50={names[c]: float(ap[0]) for c, ap in zip(present, average_precision, strict=True)},
        thresholds=thresholds,
    )


def match(
    detections: Detections, ground_truth: Detections, iou_thresholds: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Tell which detections of one tile are right, at each of T overlaps.

    As COCO does: by falling score, each takes the free ground truth of its class that it overlaps most.

    Returns:
        (N, T) bool.
    """
    right = np.zeros((len(detections), len(iou_thresholds)), bool)
    if not len(detections) or not len(ground_truth):
        return right
    overlap = iou_matrix(detections.boxes_xyxy_px, ground_truth.boxes_xyxy_px)
    overlap[detections.class_ids[:, None] != ground_truth.class_ids[None]] = 0
    candidates = [row for row in np.argsort(-detections.scores, kind="stable") if overlap[row].any()]
    for column, threshold in enumerate(iou_thresholds):
        free = np.ones(len(ground_truth), bool)
        for row in candidates:
            best = int((overlap[row] * free).argmax())
            if free[best] and overlap[row, best] >= threshold:
                right[row, column], free[best] = True, False
    return right


def best_threshold(scores: NDArray[np.float32], right: NDArray[np.bool_], total: int) -> float:
    """Choose a score threshold for one class: the middle of those whose F1 is within 1 % of the best.

    The middle, not the peak: with few validation images the peak is one lucky score.

    Args:
        scores: (N,) of the detections of the class.
        right: (N,) which of them are right; at least one.
        total: how many there were to find, >= 1.
    Returns:
        A score within floor and cap.
    """
    order = np.argsort(-scores, kind="stable")
    reported = np.arange(1, len(order) + 1)
    f1 = 2 * np.cumsum(right[order]) / (reported + total)
    good = scores[order][f1 >= 0.99 * f1.max()]
    middle = (float(good.max()) + float(good.min())) / 2
    return round(min(max(middle, THRESHOLD_FLOOR), THRESHOLD_CAP), 3)
