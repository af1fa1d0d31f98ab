"""Assign boxes by SimOTA: each box takes as many anchor points as fit it, the cheapest of them.

Ge et al., "YOLOX: Exceeding YOLO Series in 2021", section 2.1 (SimOTA), and the authors' code for what the
paper leaves open. Prediction and ground truth are compared by what they cost together: a place near the
middle of a defect that already says the right thing is preferred.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

BOX_COST = 3.0
"""Weight of the overlap against the class (lambda of the paper)."""

CENTRE_RADIUS_STRIDES = 1.5
"""Half the side of the centre region, in strides of the place."""

OUTSIDE_COST = 1e6
"""Added to a place outside the centre region: it is taken only if nothing else is left."""

MOST_PLACES = 10
"""The overlaps that decide how many places a box takes (q of OTA)."""

LEAST_OVERLAP, LEAST_LOG = 1e-8, -100.0
"""Where logarithms end; the second as in torch's binary cross entropy."""


class SimOta(nn.Module):
    """Assign places to boxes; to be called as ultralytics' task-aligned assigner is.

    `strides_px`, (A,), must be set to the strides of the places before a call.
    """

    def __init__(self) -> None:
        super().__init__()
        self.strides_px = torch.zeros(0)

    @torch.no_grad()
    def forward(
        self,
        scores: Tensor,
        boxes_xyxy_px: Tensor,
        points_xy_px: Tensor,
        labels: Tensor,
        ground_truths_xyxy_px: Tensor,
        is_ground_truth: Tensor,
        **_: Any,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Assign the places of a batch.

        Args:
            scores: (B, A, classes) in [0, 1]; with objectness, the root of its product with the class.
            boxes_xyxy_px: (B, A, 4) predicted, input pixels.
            points_xy_px: (A, 2) centres of the places.
            labels: (B, M, 1) class ids.
            ground_truths_xyxy_px: (B, M, 4).
            is_ground_truth: (B, M, 1), not 0 where a row holds a box and no filling.
        Returns:
            Class ids (B, A), boxes (B, A, 4), scores (B, A, classes): overlap of prediction and box at the
            class of the box; which places answer for a box (B, A) bool, and for which row (B, A).
        """
        images, places, classes = scores.shape
        foreground = torch.zeros(images, places, dtype=torch.bool, device=scores.device)
        numbers = torch.zeros(images, places, dtype=torch.long, device=scores.device)
        overlaps = torch.zeros(images, places, device=scores.device)
        with torch.autocast(scores.device.type, enabled=False):
            for image in range(images):
                rows = is_ground_truth[image].flatten().nonzero().flatten()
                if not len(rows):
                    continue
                taken, whose, overlap = assign(
                    scores[image].float(),
                    boxes_xyxy_px[image].float(),
                    points_xy_px.float(),
                    self.strides_px.float(),
                    labels[image, rows, 0].long(),
                    ground_truths_xyxy_px[image, rows].float(),
                )
                foreground[image, taken], numbers[image, taken] = True, rows[whose]
                overlaps[image, taken] = overlap
        if not labels.shape[1]:
            nothing = torch.zeros_like(scores)
            return numbers, boxes_xyxy_px.new_zeros(boxes_xyxy_px.shape), nothing, foreground, numbers
        classes_of = labels[..., 0].long().gather(1, numbers)
        targets = functional.one_hot(classes_of, classes) * overlaps.unsqueeze(-1)
        places_of = numbers.unsqueeze(-1).expand(-1, -1, 4)
        return classes_of, ground_truths_xyxy_px.gather(1, places_of), targets, foreground, numbers


def assign(
    scores: Tensor,
    boxes_xyxy_px: Tensor,
    points_xy_px: Tensor,
    strides_px: Tensor,
    labels: Tensor,
    ground_truths_xyxy_px: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Assign the places of one image.

    Args:
        scores: (A, classes) float32.
        boxes_xyxy_px: (A, 4) predicted.
        points_xy_px: (A, 2).
        strides_px: (A,).
        labels: (M,) class ids, M >= 1.
        ground_truths_xyxy_px: (M, 4).
    Returns:
        The K places that answer for a box (K,), for which row each (K,), and their overlap with it (K,).
    """
    from torchvision.ops import box_iou  # here: it loads the compiler of torch, for seconds

    is_central, is_candidate = _regions(points_xy_px, strides_px, ground_truths_xyxy_px)
    places = is_candidate.any(0).nonzero().flatten()
    overlaps = box_iou(ground_truths_xyxy_px, boxes_xyxy_px[places]).nan_to_num()  # 0 / 0: both are empty
    costs = (
        _class_costs(scores[places], labels)
        - BOX_COST * (overlaps + LEAST_OVERLAP).log()
        + OUTSIDE_COST * ~is_central[:, places]
    )
    claims = _cheapest(costs, overlaps)
    contested = claims.sum(0) > 1
    claims[:, contested] = False
    claims[costs[:, contested].argmin(0), contested.nonzero().flatten()] = True
    whose, chosen = claims.nonzero(as_tuple=True)
    return places[chosen], whose, overlaps[whose, chosen]


def _regions(points: Tensor, strides: Tensor, ground_truths: Tensor) -> tuple[Tensor, Tensor]:
    """Tell which places lie in the centre region of each box, and which in that or in the box; (M, A)."""
    centres = (ground_truths[:, None, :2] + ground_truths[:, None, 2:]) / 2
    away = (points - centres).abs().amax(-1)
    is_central = away < CENTRE_RADIUS_STRIDES * strides
    is_inside = (
        torch.minimum(points - ground_truths[:, None, :2], ground_truths[:, None, 2:] - points).amin(-1) > 0
    )
    return is_central, is_central | is_inside


def _class_costs(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the binary cross entropy of each pair, summed over the classes: (M, places)."""
    right = scores.log().clamp(min=LEAST_LOG)
    wrong = (1 - scores).log().clamp(min=LEAST_LOG)
    return -(wrong.sum(-1) + (right - wrong)[:, labels].T)


def _cheapest(costs: Tensor, overlaps: Tensor) -> Tensor:
    """Let each box claim its k cheapest places, k the sum of its best overlaps, at least 1: (M, places)."""
    best = overlaps.topk(min(MOST_PLACES, overlaps.shape[1]), dim=1).values
    counts = best.sum(1).int().clamp(min=1).tolist()
    claims = torch.zeros_like(costs, dtype=torch.bool)
    for row, count in enumerate(counts):
        claims[row, costs[row].topk(count, largest=False).indices] = True
    return claims
