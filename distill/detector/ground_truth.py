"""Lay out the boxes of a batch by image, as assigners read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class BatchGroundTruth:
    """Hold the boxes of B images, M the most that one has; shorter rows are filled up.

    Attributes:
        labels: (B, M) class ids.
        boxes_xyxy_px: (B, M, 4), input pixels.
        weights: (B, M) in [0, 1].
        is_box: (B, M) bool, False where a row is filled up.
    """

    labels: Tensor
    boxes_xyxy_px: Tensor
    weights: Tensor
    is_box: Tensor

    def weights_of(self, numbers: Tensor) -> Tensor:
        """Return the weight of the box in each row that (B, A) `numbers` names; 1 where there are none."""
        if not self.weights.shape[1]:
            return torch.ones(numbers.shape, device=self.weights.device)
        return self.weights.gather(1, numbers.long())


def batch_ground_truth(
    targets: dict[str, Tensor], images: int, size_wh_px: tuple[float, float]
) -> BatchGroundTruth:
    """Lay out the targets of `DetectionTask.loss_parts`.

    Args:
        targets: `batch_idx` rising.
        images: in the batch.
        size_wh_px: width and height of the input.
    """
    image_of = targets["batch_idx"].long()
    boxes = corners_px(targets["bboxes"], size_wh_px)

    def laid(values: Tensor, filling: Any) -> Tensor:
        return padded(image_of, values, images, filling)

    return BatchGroundTruth(
        labels=laid(targets["cls"].flatten().long(), 0),
        boxes_xyxy_px=laid(boxes, 0.0),
        weights=laid(targets["weights"], 1.0),
        is_box=laid(torch.ones_like(image_of, dtype=torch.bool), False),
    )


def corners_px(boxes_cxcywh_norm: Tensor, size_wh_px: tuple[float, float]) -> Tensor:
    """Return (N, 4) x1 y1 x2 y2 in pixels of boxes that are given as fractions of the input."""
    size = boxes_cxcywh_norm.new_tensor(size_wh_px)
    centres, sides = boxes_cxcywh_norm[:, :2] * size, boxes_cxcywh_norm[:, 2:] * size
    return torch.cat([centres - sides / 2, centres + sides / 2], dim=1)


def padded(image_of: Tensor, values: Tensor, images: int, filling: Any) -> Tensor:
    """Lay values out by image.

    Args:
        image_of: (N,) image of each value, rising, int64.
        values: (N, ...).
        images: in the batch.
        filling: stands where there is no value.
    Returns:
        (images, most values of one image, ...).
    """
    counts = torch.bincount(image_of, minlength=images)
    most = int(counts.max()) if len(image_of) else 0
    first = torch.cumsum(counts, 0) - counts
    laid = values.new_full((images, most, *values.shape[1:]), filling)
    laid[image_of, torch.arange(len(image_of), device=values.device) - first[image_of]] = values
    return laid
