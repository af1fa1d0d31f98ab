"""Give ultralytics' own head the methods of `Head`: it has class and box branches and no objectness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from distill.detector.outputs import HeadOutputs, cell_centres, raw_ports
from edge.core.contract import RawOutputs

if TYPE_CHECKING:
    from distill.detector.channels import Groups, Walk


class DecoupledHead:
    """Stand before ultralytics' `Detect`; see `Head`."""

    def __init__(self, detect: Any) -> None:
        self._detect = detect

    def outputs(self, predictions: Mapping[str, Any]) -> HeadOutputs:
        features, bins = tuple(predictions["feats"]), self._detect.reg_max
        points, strides = cell_centres(features, self._detect.stride)
        class_logits = predictions["scores"].float().transpose(1, 2)
        images, cells, _ = class_logits.shape
        side_logits = predictions["boxes"].float().transpose(1, 2).reshape(images, cells, 4, bins)
        steps = torch.arange(bins, dtype=torch.float32, device=side_logits.device)
        sides_px = side_logits.softmax(dim=-1).matmul(steps) * strides[:, None]
        boxes = torch.cat([points - sides_px[..., :2], points + sides_px[..., 2:]], dim=-1)
        return HeadOutputs(features, class_logits, None, boxes, side_logits, points, strides)

    def channels(self, walk: Walk, name: str, entering: Sequence[Groups]) -> None:
        for branch in ("cv2", "cv3"):
            levels = getattr(self._detect, branch)
            for number, (level, groups) in enumerate(zip(levels, entering, strict=True)):
                walk.keep_whole(walk.follow(f"{name}.{branch}.{number}", level, [groups]))

    def answering(self) -> set[nn.Module]:
        branches = (*self._detect.cv2, *self._detect.cv3)
        return {self._detect.dfl.conv, *(branch[-1] for branch in branches)}

    def raw_outputs(self) -> RawOutputs:
        return raw_ports("distribution", self._detect.stride.tolist(), bins=self._detect.reg_max)

    def raw_maps(self, number: int, features: Tensor) -> tuple[Tensor, ...]:
        return self._detect.cv2[number](features), self._detect.cv3[number](features)
