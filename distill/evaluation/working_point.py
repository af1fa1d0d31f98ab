"""Inspect whole images as at the edge, and count defects that are found and false positives.

Everything runs as at the edge: tiles, thresholds of the contract, merging across tiles. All counts come
from one confusion matrix, and that from one rule of what a report points at (`distill.evaluation.hits`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from distill.data.tiles import TilePlan
from distill.detector.build import infer
from distill.evaluation.confusion import Counts, confusion_matrix
from edge.backends.description import BackendDescription
from edge.backends.protocol import Backend, Floats
from edge.core.contract import ModelContract
from edge.core.detections import Detections
from edge.inference.inspector import Inspector
from edge.inference.single_image import inspect_single


@dataclass(frozen=True, slots=True, eq=False)
class InspectedImage:
    """Hold what a detector says of one image of a split.

    Attributes:
        index: position in the images of the plan.
        reported: at the thresholds of the contract, by falling score.
        weak: all that the network sees, however weak.
        ground_truth: scores are 1.
    """

    index: int
    reported: Detections
    weak: Detections
    ground_truth: Detections


@dataclass(frozen=True, slots=True, eq=False)
class WorkingPoint:
    """Count what a detector reports at its thresholds.

    Attributes:
        confusion: of `confusion_matrix`, over all images.
        class_names: in the order of its rows.
        clean_m2: area of the images without a defect; None if the scale is not known.
        false_alarms_on_clean: reports on those images.
    """

    confusion: Counts
    class_names: tuple[str, ...]
    clean_m2: float | None
    false_alarms_on_clean: int

    @property
    def by_class(self) -> dict[str, tuple[int, int]]:
        """Class name -> (defects, defects that a report of whatever class points at)."""
        rows = self.confusion[:-1]
        totals, found = rows.sum(axis=1), rows[:, :-1].sum(axis=1)
        return dict(zip(self.class_names, zip(totals.tolist(), found.tolist(), strict=True), strict=True))

    @property
    def named(self) -> int:
        """Defects that are found under their own class."""
        return int(np.trace(self.confusion[:-1, :-1]))

    @property
    def false_alarms(self) -> int:
        """Reports that point at no defect, on all images."""
        return int(self.confusion[-1].sum())

    @property
    def recall(self) -> float | None:
        """Fraction of the defects that are found; None if no image shows one."""
        total = int(self.confusion[:-1].sum())
        return int(self.confusion[:-1, :-1].sum()) / total if total else None

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


def inspected_images(
    backend: Backend, plan: TilePlan, contract: ModelContract, mm_per_px: float | None
) -> list[InspectedImage]:
    """Inspect every image of a split as the edge would."""
    inspector = Inspector(backend, contract)
    inspector.wants_weak = True
    inspected = []
    for index, labelled in enumerate(plan.images):
        image = plan.image(index)
        result = inspect_single(inspector, image, mm_per_px)
        ground_truth = Detections(
            labelled.boxes_xyxy_px(image), np.ones(len(labelled.class_ids), np.float32), labelled.class_ids
        )
        weak = result.defects if result.weak is None else result.weak
        inspected.append(InspectedImage(index, result.defects, weak, ground_truth))
    return inspected


def working_point(
    inspected: Sequence[InspectedImage], plan: TilePlan, contract: ModelContract, mm_per_px: float | None
) -> WorkingPoint:
    """Count what was reported on the images of a split."""
    compared = [(one.reported, one.ground_truth) for one in inspected]
    clean = [one for one in inspected if not len(one.ground_truth)]
    clean_px = sum(plan.frame_hw_px[one.index][0] * plan.frame_hw_px[one.index][1] for one in clean)
    return WorkingPoint(
        confusion=confusion_matrix(compared, len(contract.class_names)),
        class_names=contract.class_names,
        clean_m2=clean_px * mm_per_px**2 / 1e6 if mm_per_px else None,
        false_alarms_on_clean=sum(len(one.reported) for one in clean) if mm_per_px else 0,
    )
