"""The detection loss with a weight per box: how much a box that nobody has reviewed is trusted.

A weight is the probability that the box is right. The class that a point is to predict becomes the expected
one, weight x target, and the losses of its box count by the weight.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from distill.ultralytics_door import DetectionLoss


class WeightedDetectionLoss:
    """Compute ultralytics' loss with weighted boxes.

    Args:
        module: the detector; its `args` hold the gains of the loss parts.
    """

    def __init__(self, module: nn.Module) -> None:
        self._loss: Any = DetectionLoss(module)
        self._assigner = _WeightedAssigner(self._loss.assigner)
        self._loss.assigner = self._assigner

    @property
    def foreground(self) -> Tensor:
        """The places of the last batch that got a label, (B, A) bool."""
        return self._assigner.foreground

    def __call__(self, predictions: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
        """Return the loss parts box, class and dfl, each summed over the batch.

        Args:
            predictions: of the module in training mode.
            targets: as for `DetectionTask.loss_parts`.
        """
        images = len(predictions["scores"])
        self._assigner.weights = padded_weights(targets["batch_idx"], targets["weights"], images)
        weighted, _ = self._loss(predictions, targets)
        return weighted  # type: ignore[no-any-return]


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
    image_of = batch_idx.long()
    counts = torch.bincount(image_of, minlength=images)
    most = int(counts.max()) if len(image_of) else 0
    first = torch.cumsum(counts, 0) - counts
    padded = torch.ones(images, most, device=weights.device, dtype=weights.dtype)
    padded[image_of, torch.arange(len(image_of), device=weights.device) - first[image_of]] = weights
    return padded
