"""Cut regions out of maps: where, how far beyond the level, of which shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.reference.contrast import Floats
from edge.reference.maps import CHANNELS, Shape

FOOT = 0.6
"""A region reaches to where the map falls below so much of its peak, or below the level."""

JOINED_PX = 24
"""Pieces of one defect that lie nearer than that are one region."""

MOST_REGIONS = 50
"""Of one image, those furthest beyond their level: an image full of them is no cloth of this article."""


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """Hold N regions, by falling ratio.

    Attributes:
        boxes_xyxy_px: (N, 4) float32, tight, pixels of the image.
        ratios: (N,) float32, value over the level of its channel; 1 at the threshold.
        shapes: N of them.
    """

    boxes_xyxy_px: Floats
    ratios: Floats
    shapes: tuple[Shape, ...]

    def __len__(self) -> int:
        return len(self.ratios)


def no_regions() -> Regions:
    """Return a value of length 0."""
    return Regions(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ())


def find_regions(ratios: Mapping[str, Floats], stride_px: int, size_hw_px: tuple[int, int]) -> Regions:
    """Find what reaches its level.

    Args:
        ratios: channel -> (h, w) float32, value over level; 0 where nothing is judged.
        stride_px: side of a cell.
        size_hw_px: of the image.
    """
    names = [name for name in ratios if ratios[name].max(initial=0) >= 1]
    if not names:
        return no_regions()
    top = np.max([ratios[name] for name in names], axis=0)
    found = []
    for number, cells in _pieces(top >= 1, JOINED_PX // stride_px):
        ys, xs = cells
        by_channel = [float(ratios[name][ys, xs].max()) for name in names]
        best = names[int(np.argmax(by_channel))]
        box = _tight(top, cells)
        found.append((max(by_channel), number, box * stride_px, best))
    found.sort(key=lambda one: (-one[0], one[1]))
    return _as_regions(found[:MOST_REGIONS], size_hw_px)


def _pieces(
    is_over: NDArray[np.bool_], reach: int
) -> list[tuple[int, tuple[NDArray[np.intp], NDArray[np.intp]]]]:
    """Group cells that lie near to one another: (number, (ys, xs)) of each group."""
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach | 1, reach | 1))
    near = cv2.dilate(is_over.astype(np.uint8), around)
    count, labels = cv2.connectedComponents(near, connectivity=8)
    ys, xs = np.nonzero(is_over)
    of_cell = labels[ys, xs]
    return [(number, (ys[of_cell == number], xs[of_cell == number])) for number in range(1, count)]


def _tight(top: Floats, cells: tuple[NDArray[np.intp], NDArray[np.intp]]) -> NDArray[np.int64]:
    """Bound the part of a group that stands out as much as its peak, as x1, y1, x2, y2 in cells."""
    ys, xs = cells
    values = top[ys, xs]
    high = values >= max(1.0, FOOT * float(values.max()))
    ys, xs = ys[high], xs[high]
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.int64)


def _as_regions(
    found: Sequence[tuple[float, int, NDArray[np.int64], str]], size_hw_px: tuple[int, int]
) -> Regions:
    height, width = size_hw_px
    boxes = np.array([box for _, _, box, _ in found], np.float32).reshape(-1, 4)
    boxes = np.minimum(boxes, np.array([width, height, width, height], np.float32))
    ratios = np.array([ratio for ratio, *_ in found], np.float32)
    return Regions(boxes, ratios, tuple(CHANNELS[name].shape for *_, name in found))
