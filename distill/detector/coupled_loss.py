"""Compute the loss of classic YOLOv5 with a weight per box: anchors of like size in neighbouring cells.

As in github.com/ultralytics/yolov5 (v6 and later, utils/loss.py and data/hyps/hyp.scratch-low.yaml),
written again. A weight is the probability that a box is right: objectness is taught overlap times weight,
and class and place count by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.detector.ground_truth import corners_px
from distill.detector.outputs import HeadOutputs
from distill.ultralytics_door import bbox_iou

GREATEST_RATIO = 4.0
"""A box fits an anchor if neither side is so many times the other's (anchor_t)."""

BOX_GAIN, CLASS_GAIN, OBJECTNESS_GAIN = 0.05, 0.5, 1.0
"""YOLOv5's, for `REFERENCE_CLASSES` and `REFERENCE_SIDE_PX`; it scales them to others as is done here."""

REFERENCE_CLASSES, REFERENCE_SIDE_PX, REFERENCE_LEVELS = 80, 640, 3

BALANCE = {3: (4.0, 1.0, 0.4)}
OTHER_BALANCE = (4.0, 1.0, 0.25, 0.06, 0.02)
"""Weight of each level's objectness, by the number of levels; the finest has the most empty places."""

NEIGHBOURS = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (-0.5, 0.0), (0.0, -0.5))
"""How far a centre is moved to land in its own cell, and in those left, above, right and below of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """Say which places answer for which box; a place may answer for several.

    Attributes:
        places: (K,) numbers of anchors within an image.
        rows: (K,) numbers of boxes.
    """

    places: Tensor
    rows: Tensor


class CoupledLoss:
    """Compute the loss parts box, class and objectness.

    Args:
        module: a detector with a `CoupledHead`.
    """

    def __init__(self, module: nn.Module) -> None:
        self._head: Any = module.model[-1]  # type: ignore[index]
        self.foreground = torch.zeros(0, 0, dtype=torch.bool)

    def __call__(self, predictions: dict[str, Any], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the parts, each a mean over what was matched, or over all places.

        Args:
            predictions: of the module in training mode.
            targets: as for `DetectionTask.loss_parts`.
        """
        outputs: HeadOutputs = self._head.outputs(predictions)
        sizes_hw = [(level.shape[2], level.shape[3]) for level in outputs.features]
        boxes = corners_px(targets["bboxes"], outputs.input_wh_px)
        matches = match_anchors(boxes, self._head.anchors_px, self._head.strides_px, sizes_hw)
        self.foreground = _matched(outputs, matches, targets["batch_idx"].long())
        balance = BALANCE.get(len(matches), OTHER_BALANCE)
        parts = torch.zeros(3, device=boxes.device)
        start = 0
        for number, (match, (height, width)) in enumerate(zip(matches, sizes_hw, strict=True)):
            end = start + self._head.per_cell * height * width
            parts = parts + _level_parts(outputs, match, boxes, targets, (start, end), balance[number])
            start = end
        parts = parts * self._gains(outputs.input_wh_px).to(parts.device)
        return dict(zip(("box", "class", "objectness"), parts, strict=True))

    def _gains(self, size_wh_px: tuple[float, float]) -> Tensor:
        area_fraction = size_wh_px[0] * size_wh_px[1] / REFERENCE_SIDE_PX**2
        of_class = CLASS_GAIN * self._head.nc / REFERENCE_CLASSES
        gains = torch.tensor([BOX_GAIN, of_class, OBJECTNESS_GAIN * area_fraction])
        return gains * REFERENCE_LEVELS / len(self._head.strides_px)


def _matched(outputs: HeadOutputs, matches: Sequence[Match], image_of: Tensor) -> Tensor:
    """Return which places answer for a box, (B, A) bool."""
    is_matched = torch.zeros_like(outputs.boxes_xyxy_px[..., 0], dtype=torch.bool)
    for match in matches:
        is_matched[image_of[match.rows], match.places] = True
    return is_matched


def match_anchors(
    boxes_xyxy_px: Tensor,
    anchors_px: Tensor,
    strides_px: Sequence[float],
    sizes_hw: Sequence[tuple[int, int]],
) -> list[Match]:
    """Find the places that answer for boxes: anchors of like size in the centre's cell and the two nearest.

    Args:
        boxes_xyxy_px: (N, 4).
        anchors_px: (levels, anchors, 2) width and height.
        strides_px: of each level.
        sizes_hw: cells of each level.
    Returns:
        One match per level.
    """
    centres = (boxes_xyxy_px[:, :2] + boxes_xyxy_px[:, 2:]) / 2
    sides = boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]
    matches, start = [], 0
    for anchors, stride, (height, width) in zip(anchors_px, strides_px, sizes_hw, strict=True):
        ratios = sides / anchors[:, None]
        fits = torch.maximum(ratios, 1 / ratios).amax(-1) < GREATEST_RATIO
        cells, is_near = _cells(centres / stride, (width, height))
        anchor, neighbour, row = (fits[:, None] & is_near).nonzero(as_tuple=True)
        column_row = cells[neighbour, row]
        places = start + anchor * height * width + column_row[:, 1] * width + column_row[:, 0]
        matches.append(Match(places, row))
        start += len(anchors) * height * width
    return matches


def _cells(centres: Tensor, size_wh: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the cells (5, N, 2) of centres (N, 2) and of their neighbours, and which are meant (5, N)."""
    size = centres.new_tensor(size_wh)
    from_end = size - centres
    near_low = (centres % 1 < 0.5) & (centres > 1)
    near_high = (from_end % 1 < 0.5) & (from_end > 1)
    own = torch.ones_like(near_low[:, 0])
    is_near = torch.stack([own, near_low[:, 0], near_low[:, 1], near_high[:, 0], near_high[:, 1]])
    cells = (centres - centres.new_tensor(NEIGHBOURS)[:, None]).floor().long()
    return torch.minimum(cells.clamp(min=0), size.long() - 1), is_near


def _level_parts(
    outputs: HeadOutputs,
    match: Match,
    boxes: Tensor,
    targets: dict[str, Tensor],
    start_end: tuple[int, int],
    balance: float,
) -> Tensor:
    """Return box, class and objectness loss of one level, (3,), without gains."""
    assert outputs.objectness_logits is not None
    images, places = targets["batch_idx"].long()[match.rows], match.places
    weights = targets["weights"][match.rows]
    total = weights.sum().clamp(min=1)
    overlaps = bbox_iou(
        outputs.boxes_xyxy_px[images, places], boxes[match.rows], xywh=False, CIoU=True
    )[:, 0]  # fmt: skip
    classes = outputs.class_logits.shape[-1]
    wanted = functional.one_hot(targets["cls"].flatten().long()[match.rows], classes).float()
    class_losses = functional.binary_cross_entropy_with_logits(
        outputs.class_logits[images, places], wanted, reduction="none"
    ).mean(-1)
    start, end = start_end
    seen = torch.zeros_like(outputs.objectness_logits)
    flat = seen.view(-1).scatter_reduce(
        0, images * seen.shape[1] + places, overlaps.detach().clamp(min=0) * weights, "amax"
    )
    objectness = functional.binary_cross_entropy_with_logits(
        outputs.objectness_logits[:, start:end], flat.view_as(seen)[:, start:end]
    )
    of_class = (class_losses * weights).sum() / total if classes > 1 else class_losses.sum() * 0
    return torch.stack([((1 - overlaps) * weights).sum() / total, of_class, objectness * balance])
