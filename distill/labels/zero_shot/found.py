"""Hold what an open-vocabulary detector finds in one view, before it has a name."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class BoxesOfView:
    """Hold N boxes of one view.

    Attributes:
        boxes_xyxy_px: (N, 4) float32, view pixels.
        scores: (N,) float32 in [0, 1].
        prompts: (N,) int64, position of the prompt that describes each best.
    """

    boxes_xyxy_px: Tensor
    scores: Tensor
    prompts: Tensor


def together(parts: list[BoxesOfView]) -> BoxesOfView:
    """Join what was found in the same view; there is at least one part."""
    return BoxesOfView(
        torch.cat([part.boxes_xyxy_px for part in parts]),
        torch.cat([part.scores for part in parts]),
        torch.cat([part.prompts for part in parts]),
    )
