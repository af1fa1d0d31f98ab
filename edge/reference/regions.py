"""Cut regions out of maps: where, how far beyond the level, of which shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.reference.contrast import Floats, Mask
from edge.reference.maps import CHANNELS, Shape

Indices = NDArray[np.intp]

FOOT = 0.6
"""A region reaches to where the finest map falls below so much of its peak."""

CENTRE_PX = 0.5
"""Where in the image the features of a cell have their centre, from the cell's own first pixel on: each
layer with a stride looks at its first pixel and at those on both sides of it."""

FINEST = ("spot", "patch", "speck")
"""Channels whose maps say how far a region reaches; those of lines smear it along the line."""

JOINED_PX = 24
"""Pieces of one defect that lie nearer than that are one region."""

LINE_JOINED_PX = 96
"""The same along a line."""

AREA_PX = 48
"""A region that is as wide and as high as that is an area, unless it is a line."""

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
    fine = np.max([ratios[name] for name in FINEST if name in ratios], axis=0)
    found = []
    for ys, xs in _pieces(top >= 1, _near({name: ratios[name] >= 1 for name in names}, stride_px)):
        by_channel = [float(ratios[name][ys, xs].max()) for name in names]
        shape = CHANNELS[names[int(np.argmax(by_channel))]].shape
        box = _tight(fine, ys, xs, is_line=shape.endswith("line")) * stride_px
        found.append((max(by_channel), box, _shape(shape, box)))
    found.sort(key=lambda one: (-one[0], *one[1].tolist()))
    return _as_regions(found[:MOST_REGIONS], stride_px, size_hw_px)


def _near(is_over: Mapping[str, Mask], stride_px: int) -> Mask:
    """Tell what lies near to cells over their level: all round, and further along a line."""
    reach, along = JOINED_PX // stride_px | 1, LINE_JOINED_PX // stride_px | 1
    kernels = {
        "spot": cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)),
        "warp line": np.ones((along, 3), np.uint8),
        "weft line": np.ones((3, along), np.uint8),
    }
    near = [
        cv2.dilate(cells.astype(np.uint8), kernel)
        for name, cells in is_over.items()
        for shape, kernel in kernels.items()
        if shape in ("spot", CHANNELS[name].shape)
    ]
    return np.asarray(np.max(near, axis=0) > 0, np.bool_)


def _pieces(is_over: Mask, near: Mask) -> Iterator[tuple[Indices, Indices]]:
    """Group cells that lie near to one another: (ys, xs) of each group."""
    count, labels = cv2.connectedComponents(near.astype(np.uint8), connectivity=8)
    ys, xs = np.nonzero(is_over)
    of_cell = labels[ys, xs]
    for number in range(1, count):
        yield ys[of_cell == number], xs[of_cell == number]


def _shape(of_channel: Shape, box: NDArray[np.int64]) -> Shape:
    """Name the shape of a region: what its channel looks for, or an area if it is large both ways."""
    sides = box[2:] - box[:2]
    return "area" if of_channel == "spot" and sides.min() >= AREA_PX else of_channel


def _tight(fine: Floats, ys: Indices, xs: Indices, *, is_line: bool) -> NDArray[np.int64]:
    """Bound the part of a group that stands out as much as its peak, as x1, y1, x2, y2 in cells.

    A line is as long as it reaches the level anywhere, however far one knot on it stands out.
    """
    values = fine[ys, xs]
    least = FOOT * float(values.max())
    high = values >= (min(least, 1.0) if is_line else least)
    ys, xs = ys[high], xs[high]
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.int64)


def _as_regions(
    found: Sequence[tuple[float, NDArray[np.int64], Shape]],
    stride_px: int,
    size_hw_px: tuple[int, int],
) -> Regions:
    height, width = size_hw_px
    boxes = np.array([box for _, box, _ in found], np.float32).reshape(-1, 4)
    boxes += np.float32(CENTRE_PX - stride_px / 2)
    boxes = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    ratios = np.array([ratio for ratio, *_ in found], np.float32)
    return Regions(boxes, ratios, tuple(shape for *_, shape in found))
