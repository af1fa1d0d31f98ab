"""What a head says, in terms that every head shares: losses, distillation and pictures read heads here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, eq=False)
class HeadOutputs:
    """Hold what a head said of a batch, in float32; gradients flow through all but the points.

    Attributes:
        features: neck maps that the head read, one per level, each (B, C_l, H_l, W_l).
        class_logits: (B, A, classes).
        objectness_logits: (B, A); None for a head without objectness.
        boxes_xyxy_px: (B, A, 4) in input pixels.
        side_logits: (B, A, 4, bins), distributions over distances left, top, right and bottom in strides
            (Li et al., Generalized Focal Loss, 2020); None for a head that gives boxes directly.
        points_xy_px: (A, 2) centres of the cells, in input pixels; levels one after the other, row by row.
        strides_px: (A,).
    """

    features: tuple[Tensor, ...]
    class_logits: Tensor
    objectness_logits: Tensor | None
    boxes_xyxy_px: Tensor
    side_logits: Tensor | None
    points_xy_px: Tensor
    strides_px: Tensor

    @property
    def scores(self) -> Tensor:
        """Return (B, A, classes) in [0, 1], objectness included."""
        scores = self.class_logits.sigmoid()
        if self.objectness_logits is None:
            return scores
        return scores * self.objectness_logits.sigmoid().unsqueeze(-1)


def head_outputs(module: nn.Module, predictions: Mapping[str, Any]) -> HeadOutputs:
    """Read what a detector of `build_module` gave in training mode; in eval mode, the second it gives."""
    head: Any = module.model[-1]  # type: ignore[index]
    features = tuple(predictions["feats"])
    points, strides = cell_centres(features, head.stride)
    class_logits = predictions["scores"].float().transpose(1, 2)
    images, cells, _ = class_logits.shape
    side_logits = predictions["boxes"].float().transpose(1, 2).reshape(images, cells, 4, head.reg_max)
    steps = torch.arange(head.reg_max, dtype=torch.float32, device=side_logits.device)
    sides_px = side_logits.softmax(dim=-1).matmul(steps) * strides[:, None]
    boxes = torch.cat([points - sides_px[..., :2], points + sides_px[..., 2:]], dim=-1)
    return HeadOutputs(features, class_logits, None, boxes, side_logits, points, strides)


def cell_centres(features: tuple[Tensor, ...], strides_px: Tensor) -> tuple[Tensor, Tensor]:
    """Return the centres (A, 2) of all cells, x before y, and their strides (A,), in input pixels."""
    points, strides = [], []
    for level, stride in zip(features, strides_px.tolist(), strict=True):
        height, width = level.shape[2:]
        rows, columns = (
            (torch.arange(side, device=level.device, dtype=torch.float32) + 0.5) * stride
            for side in (height, width)
        )
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        points.append(torch.stack([x, y], dim=-1).reshape(-1, 2))
        strides.append(torch.full((height * width,), stride, device=level.device))
    return torch.cat(points), torch.cat(strides)
