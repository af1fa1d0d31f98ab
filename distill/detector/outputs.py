"""Read the outputs of any head in one form: losses, distillation and images use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from distill.detector.cells import cell_corners
from edge.core.contract import HeadLevel, RawOutputs


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


class PlacedHead(Protocol):
    """A head that gives boxes directly, and objectness."""

    def places_px(self, outputs: dict[str, Any]) -> tuple[Tensor, Tensor]: ...
    def boxes_cxcywh_px(self, outputs: dict[str, Any]) -> Tensor: ...


def outputs_with_objectness(head: PlacedHead, predictions: Mapping[str, Any]) -> HeadOutputs:
    """Read what such a head gave."""
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


def raw_ports(
    decoding: Literal["distribution", "offset"], strides_px: Sequence[float], *, bins: int | None = None
) -> RawOutputs:
    """Name the ports of a graph that ends in a head: boxes, scores and, with offsets, objectness."""
    levels = tuple(
        HeadLevel(
            stride_px=int(stride),
            boxes_port=f"boxes_stride{int(stride)}",
            scores_port=f"scores_stride{int(stride)}",
            objectness_port=f"objectness_stride{int(stride)}" if decoding == "offset" else None,
        )
        for stride in strides_px
    )
    return RawOutputs(decoding=decoding, bins=bins, levels=levels)


def cell_centres(features: tuple[Tensor, ...], strides_px: Tensor) -> tuple[Tensor, Tensor]:
    """Return the centres (A, 2) of all cells, x before y, and their strides (A,), in input pixels."""
    corners, strides = cell_corners(features, strides_px.tolist())
    return (corners + 0.5) * strides[:, None], strides
