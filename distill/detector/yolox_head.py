"""Build the head of YOLOX on YOLOv5's neck: separate class and box branches, objectness, no anchors.

Ge et al., "YOLOX: Exceeding YOLO Series in 2021", section 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from distill.detector.cells import cell_corners
from distill.detector.outputs import HeadOutputs, outputs_with_objectness, raw_ports
from distill.ultralytics_door import Conv
from edge.backends.raw_outputs import LOG_SIDE_LIMIT
from edge.core.contract import RawOutputs

if TYPE_CHECKING:
    from distill.detector.channels import Groups, Walk

PRIOR = 0.01
"""Score of a fresh head: most places show nothing (Lin et al., Focal Loss, 2017, section 4.1)."""


class YoloxHead(nn.Module):
    """Say for each cell what is there, how surely, and where; see `Head`.

    In training mode it gives a dict of logits, A cells of all levels one after the other, row by row:
    `boxes` (B, 4, A), `objectness` (B, 1, A), `scores` (B, classes, A), and `feats`, the maps it read. In
    eval mode a pair: (B, 4 + classes, A), centre x, centre y, width, height in input pixels, then scores in
    [0, 1] with objectness in them; and that dict.

    Args:
        classes: how many.
        channels: of the neck's maps, the finest first.
        strides_px: of the neck's maps.
    """

    stride: Tensor

    def __init__(self, classes: int, channels: Sequence[int], strides_px: Sequence[float]) -> None:
        super().__init__()
        width = channels[0]
        self.nc = classes
        self.strides_px = tuple(float(stride) for stride in strides_px)
        self.register_buffer("stride", torch.tensor(self.strides_px), persistent=False)
        self.stems = nn.ModuleList(Conv(entering, width, 1) for entering in channels)
        self.class_branch = nn.ModuleList(_branch(width) for _ in channels)
        self.box_branch = nn.ModuleList(_branch(width) for _ in channels)
        self.classes = nn.ModuleList(nn.Conv2d(width, classes, 1) for _ in channels)
        self.boxes = nn.ModuleList(nn.Conv2d(width, 4, 1) for _ in channels)
        self.objectness = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in channels)
        for layer in (*self.classes, *self.objectness):
            nn.init.constant_(layer.bias, -math.log((1 - PRIOR) / PRIOR))

    def forward(self, features: Sequence[Tensor]) -> Any:
        outputs: dict[str, Any] = {"feats": list(features)}
        levels = [self.maps_of(number, level) for number, level in enumerate(features)]
        for name, parts in zip(("boxes", "objectness", "scores"), zip(*levels, strict=True), strict=True):
            outputs[name] = torch.cat([part.flatten(2) for part in parts], dim=2)
        if self.training:
            return outputs
        scores = outputs["scores"].sigmoid() * outputs["objectness"].sigmoid()
        return torch.cat([self.boxes_cxcywh_px(outputs), scores], dim=1), outputs

    def outputs(self, predictions: Mapping[str, Any]) -> HeadOutputs:
        return outputs_with_objectness(self, predictions)

    def channels(self, walk: Walk, name: str, entering: Sequence[Groups]) -> None:
        for number, groups in enumerate(entering):

            def follow(part: str, groups: Groups, number: int = number) -> Groups:
                return walk.follow(f"{name}.{part}.{number}", getattr(self, part)[number], [groups])

            stem = follow("stems", groups)
            of_class, of_box = follow("class_branch", stem), follow("box_branch", stem)
            for part, read in (("classes", of_class), ("boxes", of_box), ("objectness", of_box)):
                walk.keep_whole(follow(part, read))

    def answering(self) -> set[nn.Module]:
        return {*self.classes, *self.boxes, *self.objectness}

    def raw_outputs(self) -> RawOutputs:
        return raw_ports("offset", self.strides_px)

    def raw_maps(self, number: int, features: Tensor) -> tuple[Tensor, ...]:
        boxes, objectness, scores = self.maps_of(number, features)
        return boxes, scores, objectness

    def boxes_cxcywh_px(self, outputs: dict[str, Any]) -> Tensor:
        """Decode (B, 4, A): offset from the cell's corner and log of the sides, both in strides."""
        corners, strides = cell_corners(outputs["feats"], self.strides_px)
        logits = outputs["boxes"].float()
        centres = (logits[:, :2] + corners.T) * strides
        sides = logits[:, 2:].clamp(-LOG_SIDE_LIMIT, LOG_SIDE_LIMIT).exp() * strides
        return torch.cat([centres, sides], dim=1)

    def places_px(self, outputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the centre (A, 2) and the stride (A,) of each cell, in input pixels."""
        corners, strides = cell_corners(outputs["feats"], self.strides_px)
        return (corners + 0.5) * strides[:, None], strides

    def maps_of(self, number: int, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits of a level: boxes, objectness and classes, each (B, values, H, W)."""
        stem = self.stems[number](features)
        of_class, of_box = self.class_branch[number](stem), self.box_branch[number](stem)
        return self.boxes[number](of_box), self.objectness[number](of_box), self.classes[number](of_class)


def _branch(width: int) -> nn.Sequential:
    return nn.Sequential(Conv(width, width, 3), Conv(width, width, 3))
