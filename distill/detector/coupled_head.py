"""Build the head of classic YOLOv5: one convolution per level predicts class, objectness, box per anchor.

As in github.com/ultralytics/yolov5 (v6 and later, models/yolo.py), which ultralytics 8 no longer has;
written again. The layers have the names they have there, so that its weights fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from distill.detector.cells import cell_corners
from distill.detector.outputs import HeadOutputs, outputs_with_objectness
from edge.core.contract import RawOutputs
from edge.core.errors import ConfigError

if TYPE_CHECKING:
    from distill.detector.channels import Groups, Walk

OBJECTS_PER_IMAGE, REFERENCE_SIDE_PX = 8, 640
"""A fresh head expects so many objects in an image of this side (YOLOv5's start)."""

CLASS_PRIOR = 0.6
"""Shared among the classes by a fresh head (YOLOv5's start)."""


class CoupledHead(nn.Module):
    """Say for each anchor of each cell what is there, how surely, and where; see `Head`.

    Outputs are those of `YoloxHead`, A counting anchors: levels one after the other, within a level anchors
    one after the other, within an anchor cells row by row.

    Args:
        classes: how many.
        channels: of the neck's maps, the finest first.
        strides_px: of the neck's maps.
        anchors_px: (width, height), as many for each level, the first for the finest.
    """

    stride: Tensor
    anchors_px: Tensor

    def __init__(
        self,
        classes: int,
        channels: Sequence[int],
        strides_px: Sequence[float],
        anchors_px: Sequence[tuple[float, float]],
    ) -> None:
        super().__init__()
        self.nc = classes
        self.strides_px = tuple(float(stride) for stride in strides_px)
        self.register_buffer("stride", torch.tensor(self.strides_px), persistent=False)
        anchors = torch.tensor(anchors_px, dtype=torch.float32).reshape(len(channels), -1, 2)
        self.register_buffer("anchors_px", anchors, persistent=False)
        self.per_cell = anchors.shape[1]
        self.m = nn.ModuleList(
            nn.Conv2d(entering, self.per_cell * (5 + classes), 1) for entering in channels
        )
        for layer, stride in zip(self.m, self.strides_px, strict=True):
            self._prepare_bias(layer.bias, stride)  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> Any:
        levels = [self._level(layer(level)) for layer, level in zip(self.m, features, strict=True)]
        whole = torch.cat(levels, dim=2)
        boxes, objectness, scores = torch.split(whole, [4, 1, self.nc], dim=1)
        outputs = {"boxes": boxes, "objectness": objectness, "scores": scores, "feats": list(features)}
        if self.training:
            return outputs
        return torch.cat(
            [self.boxes_cxcywh_px(outputs), scores.sigmoid() * objectness.sigmoid()], 1
        ), outputs

    def outputs(self, predictions: Mapping[str, Any]) -> HeadOutputs:
        return outputs_with_objectness(self, predictions)

    def channels(self, walk: Walk, name: str, entering: Sequence[Groups]) -> None:
        for number, (level, groups) in enumerate(zip(self.m, entering, strict=True)):
            walk.keep_whole(walk.follow(f"{name}.m.{number}", level, [groups]))

    def answering(self) -> set[nn.Module]:
        return set(self.m)

    def raw_outputs(self) -> RawOutputs:
        raise ConfigError(
            "A head with anchors is decoded in the graph alone.",
            "Leave --decode out, or write --decode graph.",
        )

    def raw_maps(self, number: int, features: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError("there are no ports for it: see `raw_outputs`")

    def boxes_cxcywh_px(self, outputs: dict[str, Any]) -> Tensor:
        """Decode (B, 4, A): centre (2 sigma - 0.5 + cell) strides, sides (2 sigma)^2 anchors."""
        corners, strides, anchors = self._places(outputs["feats"])
        doubled = outputs["boxes"].float().sigmoid() * 2
        centres = (doubled[:, :2] - 0.5 + corners.T) * strides
        return torch.cat([centres, doubled[:, 2:] ** 2 * anchors.T], dim=1)

    def places_px(self, outputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the centre of the cell (A, 2) and the stride (A,) of each anchor, in input pixels."""
        corners, strides, _ = self._places(outputs["feats"])
        return (corners + 0.5) * strides[:, None], strides

    def _places(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return cell (A, 2), stride (A,) and sides (A, 2) of each anchor."""
        corners, strides, anchors = [], [], []
        for number, (level, stride) in enumerate(zip(features, self.strides_px, strict=True)):
            cells, cell_strides = cell_corners([level], [stride])
            corners.append(cells.repeat(self.per_cell, 1))
            strides.append(cell_strides.repeat(self.per_cell))
            anchors.append(self.anchors_px[number][:, None].expand(-1, cells.shape[0], -1).reshape(-1, 2))
        return torch.cat(corners), torch.cat(strides), torch.cat(anchors)

    def _level(self, raw: Tensor) -> Tensor:
        """Turn (B, anchors x values, H, W) to (B, values, anchors x H x W)."""
        images, _, height, width = raw.shape
        split = raw.view(images, self.per_cell, 5 + self.nc, height, width)
        return split.transpose(1, 2).reshape(images, 5 + self.nc, -1)

    def _prepare_bias(self, bias: Tensor, stride: float) -> None:
        with torch.no_grad():
            values = bias.view(self.per_cell, -1)
            values[:, 4] += math.log(OBJECTS_PER_IMAGE / (REFERENCE_SIDE_PX / stride) ** 2)
            values[:, 5:] += math.log(CLASS_PRIOR / (self.nc - 0.99999))
