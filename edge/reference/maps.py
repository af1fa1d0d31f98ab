"""Turn distances into maps: one channel for each size and shape of what may not belong to the cloth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from edge.reference.contrast import Floats, Mask

Shape = Literal["spot", "warp line", "weft line", "area"]


@dataclass(frozen=True, slots=True)
class Channel:
    """Describe a channel: the mean of the distances in a window.

    Attributes:
        shape: of a defect that it finds first.
        size_hw: of the window, in cells.
    """

    shape: Shape
    size_hw: tuple[int, int]


CHANNELS: Mapping[str, Channel] = {
    "spot": Channel("spot", (3, 3)),
    "patch": Channel("spot", (7, 7)),
    "area": Channel("area", (15, 15)),
    "warp_line": Channel("warp line", (33, 1)),
    "weft_line": Channel("weft line", (1, 33)),
}

LEAST_COVERED = 0.5
"""A window with less of it judged has no value."""


def relative(distances: Floats, is_judged: Mask) -> Floats:
    """Divide distances by their median over the cells that are judged; 0 elsewhere."""
    median = float(np.median(distances[is_judged]))
    return np.asarray(np.where(is_judged, distances / np.float32(max(median, 1e-6)), 0), np.float32)


def channel_map(ratios: Floats, is_judged: Mask, channel: Channel) -> Floats:
    """Average ratios in a window around each cell, over the cells that are judged.

    Args:
        ratios: (h, w) of `relative`.
        is_judged: (h, w).
    Returns:
        (h, w) float32; 0 where a cell is not judged, or too little of its window is.
    """
    size_wh = channel.size_hw[::-1]
    summed = cv2.blur(ratios, size_wh, borderType=cv2.BORDER_CONSTANT)
    covered = cv2.blur(is_judged.astype(np.float32), size_wh, borderType=cv2.BORDER_CONSTANT)
    has_value = is_judged & (covered >= LEAST_COVERED)
    return np.asarray(np.where(has_value, summed / np.maximum(covered, LEAST_COVERED), 0), np.float32)
