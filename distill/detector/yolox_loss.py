"""Compute the loss of YOLOX's head, with a weight per box.

Ge et al., YOLOX, 2021, section 2.1. A weight is the probability that a box is right: objectness is taught
it, and class and place of the box, which matter only if there is one, count by it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.detector.ground_truth import BatchGroundTruth, batch_ground_truth
from distill.detector.outputs import HeadOutputs
from distill.detector.simota import SimOta
from distill.ultralytics_door import bbox_iou

BOX_GAIN = 5.0
"""Weight of the place against class and objectness (YOLOX, section 2.1: reg_weight)."""


class YoloxLoss:
    """Compute the loss parts box, class and objectness.

    The assigner alone decides which places answer for a box and what score they are to reach: with SimOTA
    the overlap, with task-aligned assignment its normalised alignment. All else is the same for both.

    Args:
        module: a detector with a `YoloxHead`.
        assigner: as ultralytics' task-aligned one.
    """

    def __init__(self, module: nn.Module, assigner: nn.Module) -> None:
        self._head: Any = module.model[-1]  # type: ignore[index]
        self._assigner = assigner
        self.foreground = torch.zeros(0, 0, dtype=torch.bool)

    def __call__(self, predictions: dict[str, Any], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the parts, each over the number of places that answer for a box.

        Args:
            predictions: of the module in training mode.
            targets: as for `DetectionTask.loss_parts`.
        """
        outputs: HeadOutputs = self._head.outputs(predictions)
        ground_truth = batch_ground_truth(targets, len(outputs.class_logits), outputs.input_wh_px)
        boxes, scores, foreground, numbers = self._assigned(outputs, ground_truth)
        self.foreground = foreground
        weights = ground_truth.weights_of(numbers) * foreground
        total = weights.sum().clamp(min=1)
        assert outputs.objectness_logits is not None
        objectness = functional.binary_cross_entropy_with_logits(
            outputs.objectness_logits, weights, reduction="sum"
        )
        classes = functional.binary_cross_entropy_with_logits(
            outputs.class_logits[foreground], scores[foreground], reduction="none"
        )
        overlaps = bbox_iou(outputs.boxes_xyxy_px[foreground], boxes[foreground], xywh=False)[:, 0]
        weight = weights[foreground]
        return {
            "box": BOX_GAIN * ((1 - overlaps**2) * weight).sum() / total,
            "class": (classes.sum(-1) * weight).sum() / total,
            "objectness": objectness / total,
        }

    @torch.no_grad()
    def _assigned(
        self, outputs: HeadOutputs, ground_truth: BatchGroundTruth
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return box and scores that each place is to give, which answer for a box, and for which."""
        scores = outputs.scores
        if isinstance(self._assigner, SimOta):
            self._assigner.strides_px = outputs.strides_px
            scores = scores.sqrt()
        _, boxes, targets, foreground, numbers = self._assigner(
            scores,
            outputs.boxes_xyxy_px,
            outputs.points_xy_px,
            ground_truth.labels.unsqueeze(-1),
            ground_truth.boxes_xyxy_px,
            ground_truth.is_box.unsqueeze(-1).float(),
        )
        return boxes, targets, foreground.bool(), numbers
