"""Measure missed defects and false alarms on whole images, as a person beside the loom would see them.

Everything runs as at the edge: tiles, thresholds of the contract, merging across tiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from distill.data.tiles import TilePlan
from distill.detector.build import infer
from edge.backends.description import BackendDescription
from edge.backends.protocol import Floats
from edge.core.contract import ModelContract
from edge.core.detections import Detections
from edge.inference.inspector import Inspector


@dataclass(frozen=True, slots=True)
class WorkingPoint:
    """Count what a detector reports at its thresholds.

    A defect counts as found if a report of its class touches it, however little they overlap: a person
    looks at the place, not at the box.

    Attributes:
        recall: None if no image shows a defect.
        by_class: class name -> (defects, found).
        false_alarms: reports that touch no defect of their class, on all images.
        clean_m2: area of the images without a defect; None if the scale is not known.
        false_alarms_on_clean: reports on those images.
    """

    by_class: dict[str, tuple[int, int]]
    false_alarms: int
    clean_m2: float | None
    false_alarms_on_clean: int

    @property
    def recall(self) -> float | None:
        total = sum(defects for defects, _ in self.by_class.values())
        return sum(detections for _, detections in self.by_class.values()) / total if total else None

    @property
    def false_alarms_per_clean_m2(self) -> float | None:
        return self.false_alarms_on_clean / self.clean_m2 if self.clean_m2 else None


class TorchBackend:
    """Run a detector in the place of an inference runtime: the edge's inspector then does the rest.

    Args:
        module: in eval mode, on the processor.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self.description = BackendDescription(f"torch {torch.__version__}", "cpu", "float32")

    def infer(self, images_nchw: Floats) -> tuple[Floats, Floats]:
        """Return boxes (B, A, 4) in input pixels and scores (B, A, classes)."""
        with torch.inference_mode():
            boxes, scores = infer(self._module, torch.from_numpy(images_nchw))
        return boxes.numpy(), scores.numpy()

    def warm_up(self, batch: int) -> None:
        """Do nothing: torch needs no warming, and nothing is timed here."""


def measure_working_point(
    module: nn.Module, plan: TilePlan, contract: ModelContract, mm_per_px: float | None
) -> WorkingPoint:
    """Inspect every image of a split as the edge would, and compare with the ground truth."""
    inspector = Inspector(TorchBackend(module), contract)
    defects = np.zeros(len(contract.class_names), int)
    hits = np.zeros(len(contract.class_names), int)
    false_alarms = clean_false_alarms = 0
    clean_m2 = 0.0
    for index, labelled in enumerate(plan.images):
        image = plan.image(index)
        detections = inspector.inspect(image, mm_per_px)
        ground_truth = Detections(
            labelled.boxes_xyxy_px(image), np.ones(len(labelled.class_ids), np.float32), labelled.class_ids
        )
        touched = _touches(detections, ground_truth)
        np.add.at(defects, ground_truth.class_ids, 1)
        np.add.at(hits, ground_truth.class_ids, touched.any(axis=0).astype(int))
        false_alarms += int((~touched.any(axis=1)).sum())
        if not len(ground_truth) and mm_per_px:
            clean_m2 += image.shape[0] * image.shape[1] * mm_per_px**2 / 1e6
            clean_false_alarms += len(detections)
    counts = zip(contract.class_names, defects.tolist(), hits.tolist(), strict=True)
    return WorkingPoint(
        by_class={name: (total, hit) for name, total, hit in counts},
        false_alarms=false_alarms,
        clean_m2=clean_m2 if mm_per_px else None,
        false_alarms_on_clean=clean_false_alarms,
    )


def _touches(
    detections: Detections, ground_truth: Detections
) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Return (N, M) bool: same class, and the boxes share some area."""
    low = np.maximum(detections.boxes_xyxy_px[:, None, :2], ground_truth.boxes_xyxy_px[None, :, :2])
    high = np.minimum(detections.boxes_xyxy_px[:, None, 2:], ground_truth.boxes_xyxy_px[None, :, 2:])
    same_class = detections.class_ids[:, None] == ground_truth.class_ids[None]
    return np.asarray((high > low).all(axis=2) & same_class)
