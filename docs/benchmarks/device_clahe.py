"""CLAHE on a device, as OpenCV computes it on the processor: for the benchmark, not for inspection."""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = 256


def clahe(images: Tensor, clip_limit: float, grid_hw: tuple[int, int]) -> Tensor:
    """Equalise each cell of a grid with limited contrast, and blend the cells.

    Args:
        images: (B, H, W) uint8; H and W are multiples of the grid.
        clip_limit: as of `cv2.createCLAHE`.
        grid_hw: rows and columns of cells.
    Returns:
        (B, H, W) uint8, within one grey level of OpenCV's.
    """
    tables = _tables(images, clip_limit, grid_hw)
    rows, row_share = _neighbours(images.shape[1], grid_hw[0], images.device)
    columns, column_share = _neighbours(images.shape[2], grid_hw[1], images.device)

    def row_of_cells(row: Tensor) -> Tensor:
        left, right = (_looked_up(tables, images, row, column) for column in columns)
        return torch.lerp(left, right, column_share[None, None, :])

    upper, lower = map(row_of_cells, rows)
    blended = torch.lerp(upper, lower, row_share[None, :, None])
    return blended.round().clamp(0, LEVELS - 1).to(torch.uint8)


def _tables(images: Tensor, clip_limit: float, grid_hw: tuple[int, int]) -> Tensor:
    """Return the grey level that each cell maps each level to, (B, rows, columns, 256) float32."""
    (count, height, width), (rows, columns) = images.shape, grid_hw
    area = height // rows * (width // columns)
    cells = images.reshape(count, rows, height // rows, columns, width // columns)
    cells = cells.permute(0, 1, 3, 2, 4).reshape(count * rows * columns, area).long()
    counts = torch.zeros(len(cells), LEVELS, dtype=torch.long, device=images.device)
    counts.scatter_add_(1, cells, torch.ones_like(cells))
    limit = max(int(clip_limit * area / LEVELS), 1)
    clipped = (counts - limit).clamp(min=0).sum(dim=1)
    counts = counts.clamp(max=limit) + (clipped // LEVELS)[:, None] + _rest(clipped % LEVELS)
    tables = (counts.cumsum(dim=1) * ((LEVELS - 1) / area)).round().clamp(0, LEVELS - 1)
    return tables.float().reshape(count, rows, columns, LEVELS)


def _rest(left: Tensor) -> Tensor:
    """Spread what an even share leaves over, one to every so many levels, (cells, 256)."""
    step = (LEVELS // left.clamp(min=1)).clamp(min=1)[:, None]
    level = torch.arange(LEVELS, device=left.device)[None]
    return ((level % step == 0) & (level // step < left[:, None])).long()


def _neighbours(side: int, cells: int, device: torch.device) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Return for each pixel along a side the cells before and behind it, and how far it is between them."""
    place = torch.arange(side, device=device) * (cells / side) - 0.5
    before = place.floor().long()
    share = (place - before).float()
    return (before.clamp(min=0), (before + 1).clamp(max=cells - 1)), share


def _looked_up(tables: Tensor, images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return what the cells of given rows and columns map each pixel to, (B, H, W) float32."""
    number = torch.arange(len(images), device=images.device)[:, None, None]
    looked_up: Tensor = tables[number, rows[None, :, None], columns[None, None, :], images.long()]
    return looked_up


def network_input(images: Tensor, clip_limit: float, grid_hw: tuple[int, int]) -> Tensor:
    """Prepare grey tiles for a network: CLAHE, then 0 to 1, (B, 1, H, W) float32."""
    return (clahe(images, clip_limit, grid_hw).float() / (LEVELS - 1))[:, None]
