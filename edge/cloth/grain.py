"""Measure the cells of an image: their brightness, and how their grain grows with its scale.

A weave has more contrast over two pixels than over one. The noise of a sensor has less: every halving of
the image halves it. That tells cloth from a bare machine bed whatever the brightness of either.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.image import Image

Floats = NDArray[np.float32]

CELL_PX = 8
"""Side of a cell: a few yarns, and small enough for the edge of the cloth."""

GRAIN_GAIN = 8.0
"""Differences are kept as eighths of a grey level, so that the faint grain of a soft image is not rounded
away; above 31 grey levels they are cut off."""


EVERY_PX = 4
"""Of so many rows, one pair is looked at: half the time, and over a few cells the same mean."""


@dataclass(frozen=True, slots=True)
class Grain:
    """Describe the cells of an image, each plane (ceil(H/8), ceil(W/8)) float32 in grey levels.

    Attributes:
        brightness: mean grey, 0 to 255.
        fine: mean |a - b - c + d| of neighbouring pixels: what runs straight along an axis (scratches of a
            bed, a rail, a lamp) cancels out.
        middle: the same of the image at half its size.
    """

    brightness: Floats
    fine: Floats
    middle: Floats


def measure_grain(image: Image) -> Grain:
    """Measure the cells of an image.

    Args:
        image: (H, W) grey or (H, W, 3) BGR, uint8, of any size; continued by reflection to whole cells.
    Raises:
        ValueError: if it is empty or has another shape or type.
    """
    whole = _to_whole_cells(_grey(image))
    half = _shrunk(whole, 2)
    cells_wh = (whole.shape[1] // CELL_PX, whole.shape[0] // CELL_PX)
    return Grain(
        brightness=_shrunk(_shrunk(half, 2), 2).astype(np.float32),
        fine=_mean_grain(whole, EVERY_PX, cells_wh),
        middle=_mean_grain(half, EVERY_PX // 2, cells_wh),
    )


def _grey(image: Image) -> Image:
    if image.dtype != np.uint8 or image.size == 0 or not _is_image(image.shape):
        raise ValueError(f"not an image: {image.dtype} {image.shape}")
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def _is_image(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)


def _to_whole_cells(grey: Image) -> Image:
    """Continue an image to the right and below by reflection, if it ends within a cell."""
    below, right = (-side % CELL_PX for side in grey.shape)
    if not below and not right:
        return grey
    padded = cv2.copyMakeBorder(grey, 0, below, 0, right, cv2.BORDER_REFLECT)
    return np.asarray(padded, np.uint8)


def _shrunk(grey: Image, times: int) -> Image:
    """Shrink by a whole number: each pixel is the mean of those it stands for."""
    size_wh = (grey.shape[1] // times, grey.shape[0] // times)
    return np.asarray(cv2.resize(grey, size_wh, interpolation=cv2.INTER_AREA), np.uint8)


def _mean_grain(grey: Image, every: int, cells_wh: tuple[int, int]) -> Floats:
    """Average |a - b - c + d| of 2 x 2 pixels per cell, over pairs of rows so many rows apart."""
    across = np.subtract(grey[0::every], grey[1::every], dtype=np.int16)
    crossed = np.zeros_like(across)
    cv2.absdiff(across[:, 1:], across[:, :-1], dst=crossed[:, :-1])
    crossed[:, -1] = crossed[:, -2]
    eighths = np.asarray(cv2.convertScaleAbs(crossed, alpha=GRAIN_GAIN), np.uint8)
    while eighths.shape[1] > cells_wh[0] and eighths.shape[0] > cells_wh[1]:
        eighths = _shrunk(eighths, 2)
    mean = cv2.resize(eighths, cells_wh, interpolation=cv2.INTER_AREA)
    return np.asarray(mean / np.float32(GRAIN_GAIN), np.float32)
