"""Planes of numbers as cloth and defects are drawn on, and the noise that both are made of."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Plane = NDArray[np.float32]
"""(H, W) float32."""


def as_plane(values: ArrayLike) -> Plane:
    """Return values as contiguous float32."""
    return np.ascontiguousarray(values, dtype=np.float32)


def smooth_noise(rng: np.random.Generator, size_hw: tuple[int, int], grid_hw: tuple[int, int]) -> Plane:
    """Draw noise of standard deviation about 1 that is smooth between grid points.

    Args:
        rng: where the numbers come from.
        size_hw: lines and columns wanted.
        grid_hw: independent values down and across; periodic down the rows.
    Returns:
        (H, W) float32.
    """
    lines, columns = size_hw
    grid = rng.standard_normal((max(grid_hw[0], 2), max(grid_hw[1], 2)), dtype=np.float32)
    wide: Plane = grid
    if grid.shape[1] != columns:
        wide = as_plane(cv2.resize(grid, (columns, grid.shape[0]), interpolation=cv2.INTER_CUBIC))
    place = np.arange(lines, dtype=np.float32) * (len(grid) / lines)
    upper = place.astype(np.intp)
    fraction = (place - upper)[:, None]
    lower = (upper + 1) % len(grid)
    mixed = wide[upper] * (1 - fraction) + wide[lower] * fraction
    return as_plane(mixed * np.float32(1.2))
