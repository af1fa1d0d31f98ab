"""Locate the cells of the neck's maps in the input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def cell_corners(features: Sequence[Tensor], strides_px: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Number the cells of all levels, levels one after the other, row by row.

    Args:
        features: one map per level, (B, C, H, W); a tracer sees their sizes read.
        strides_px: one per level.
    Returns:
        Column and row of each cell (A, 2), and its stride in input pixels (A,), float32.
    """
    corners, strides = [], []
    for level, stride in zip(features, strides_px, strict=True):
        height, width = level.shape[2:]
        rows, columns = (
            torch.arange(side, device=level.device, dtype=torch.float32) for side in (height, width)
        )
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        corners.append(torch.stack([x, y], dim=-1).reshape(-1, 2))
        strides.append(torch.full((height * width,), stride, device=level.device, dtype=torch.float32))
    return torch.cat(corners), torch.cat(strides)
