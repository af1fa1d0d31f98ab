"""Compute the detection loss with a weight per box: how much a box that was not reviewed is trusted.

A weight is the probability that the box is right. The class that a point is to predict becomes the expected
one, weight x target, and the losses of its box count by the weight.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from distill.detector.ground_truth import padded
from distill.detector.outputs import cell_centres
from distill.detector.simota import SimOta
from distill.ultralytics_door import DetectionLoss


class WeightedDetectionLoss:
    """Compute ultralytics' loss with weighted boxes.

    Args:
        module: the detector; its `args` hold the gains of the loss parts.
        assigner: in place of ultralytics' task-aligned one.
    """

    def __init__(self, module: nn.Module, assigner: nn.Module | None = None) -> None:
        self._loss: Any = DetectionLoss(module)
        self._assigner = _WeightedAssigner(assigner or self._loss.assigner)
        self._loss.assigner = self._assigner

    @property
    def foreground(self) -> Tensor:
        """The places of the last batch that got a label, (B, A) bool."""
        return self._assigner.foreground

    def __call__(self, predictions: dict[str, Any], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss parts box, class and dfl.

        Args:
            predictions: of the module in training mode.
            targets: as for `DetectionTask.loss_parts`.
        """
        images = len(predictions["scores"])
        self._assigner.weights = padded_weights(targets["batch_idx"], targets["weights"], images)
        if isinstance(self._assigner.inner, SimOta):
            _, self._assigner.inner.strides_px = cell_centres(
                tuple(predictions["feats"]), self._loss.stride
            )
        weighted, _ = self._loss(predictions, targets)
        return dict(zip(("box", "class", "dfl"), weighted / images, strict=True))


class _WeightedAssigner(nn.Module):
    """Assign points to boxes as another assigner does, and scale their scores by the weight of the box."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.weights = torch.ones(0, 0)
        self.foreground = torch.zeros(0, 0, dtype=torch.bool)

    def forward(self, *inputs: Tensor, **options: Any) -> tuple[Tensor, ...]:
        """Return labels, boxes, scores, foreground and box numbers per point: the scores weighted."""
        labels, boxes, scores, foreground, numbers = self.inner(*inputs, **options)
        self.foreground = foreground.bool()
        if self.weights.numel() and not bool((self.weights == 1).all()):
            scores = scores * self.weights.gather(1, numbers.long()).unsqueeze(-1)
        return labels, boxes, scores, foreground, numbers


def padded_weights(batch_idx: Tensor, weights: Tensor, images: int) -> Tensor:
    """Lay weights out by image.

    Args:
        batch_idx: (N,) image of each box, rising.
        weights: (N,).
        images: in the batch.
    Returns:
        (images, most boxes of one image), 1 where there is no box.
    """
    return padded(batch_idx.long(), weights, images, 1.0)
