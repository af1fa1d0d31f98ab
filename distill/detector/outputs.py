"""Read the outputs of any head in one form: losses, distillation and images use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from distill.detector.cells import cell_corners
from distill.detector.coupled_head import CoupledHead
from distill.detector.yolox_head import YoloxHead


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
            For a head with anchors A counts anchors: within a level one after the other, each row by row.
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

    @property
    def input_wh_px(self) -> tuple[float, float]:
        """Width and height of the input."""
        height, width = self.features[0].shape[2:]
        stride_px = float(self.strides_px[0])
        return width * stride_px, height * stride_px


def head_outputs(module: nn.Module, predictions: Mapping[str, Any]) -> HeadOutputs:
    """Read what a detector of `build_module` gave in training mode; in eval mode, the second it gives."""
    head: Any = module.model[-1]  # type: ignore[index]
    if isinstance(head, (YoloxHead, CoupledHead)):
        return _with_objectness(head, predictions)
    features = tuple(predictions["feats"])
    points, strides = cell_centres(features, head.stride)
    class_logits = predictions["scores"].float().transpose(1, 2)
    images, cells, _ = class_logits.shape
    side_logits = predictions["boxes"].float().transpose(1, 2).reshape(images, cells, 4, head.reg_max)
    steps = torch.arange(head.reg_max, dtype=torch.float32, device=side_logits.device)
    sides_px = side_logits.softmax(dim=-1).matmul(steps) * strides[:, None]
    boxes = torch.cat([points - sides_px[..., :2], points + sides_px[..., 2:]], dim=-1)
    return HeadOutputs(features, class_logits, None, boxes, side_logits, points, strides)


def _with_objectness(head: YoloxHead | CoupledHead, predictions: Mapping[str, Any]) -> HeadOutputs:
    raw = dict(predictions)
    points, strides = head.places_px(raw)
    centres, sides = head.boxes_cxcywh_px(raw).transpose(1, 2).chunk(2, dim=-1)
    return HeadOutputs(
        features=tuple(raw["feats"]),
        class_logits=raw["scores"].float().transpose(1, 2),
        objectness_logits=raw["objectness"].float().squeeze(1),
        boxes_xyxy_px=torch.cat([centres - sides / 2, centres + sides / 2], dim=-1),
        side_logits=None,
        points_xy_px=points,
        strides_px=strides,
    )


def cell_centres(features: tuple[Tensor, ...], strides_px: Tensor) -> tuple[Tensor, Tensor]:
    """Return the centres (A, 2) of all cells, x before y, and their strides (A,), in input pixels."""
    corners, strides = cell_corners(features, strides_px.tolist())
    return (corners + 0.5) * strides[:, None], strides
