"""Choose the part of an image that a SAM looks at to outline a box."""

from __future__ import annotations

from math import ceil, floor

from distill.labels.sets.annotations import BoxXyxy
from edge.core.geometry import View

CONTEXT_FRACTION = 0.2
"""A box larger than the window gets one that reaches over it by this fraction of its longer side."""


def window_of(box_xyxy_px: BoxXyxy, size_hw_px: tuple[int, int], window_px: int | None) -> View:
    """Place a square around a box, moved into the image and cut where that is smaller.

    Args:
        box_xyxy_px: image pixels.
        size_hw_px: of the image.
        window_px: least side; None for the whole image.
    """
    height, width = size_hw_px
    if window_px is None:
        return View(0, 0, width, height)
    x1, y1, x2, y2 = box_xyxy_px
    side = max(window_px, ceil((1 + CONTEXT_FRACTION) * max(x2 - x1, y2 - y1)))
    left, right = _span((x1 + x2) / 2, side, width)
    top, bottom = _span((y1 + y2) / 2, side, height)
    return View(left, top, right, bottom)


def _span(centre: float, side: int, length: int) -> tuple[int, int]:
    if side >= length:
        return 0, length
    start = min(max(floor(centre - side / 2), 0), length - side)
    return start, start + side
