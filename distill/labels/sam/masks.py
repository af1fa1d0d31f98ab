"""Convert masks: from outlines and run lengths to pixels, and from pixels to outlines and tight boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from distill.labels.sets.annotations import BoxXyxy, PolygonXy
from edge.simulator.ground_truth import tight_box

Mask = NDArray[np.uint8]
"""(H, W) uint8, 1 where the thing is and 0 elsewhere."""

_SUBPIXEL_BITS = 4
"""OpenCV fills outlines with corners in sixteenths of a pixel."""

_FINER = 4
"""Outlines are followed and filled on a mask so many times finer."""


@dataclass(frozen=True, slots=True, eq=False)
class TrueMask:
    """Hold which pixels of an image belong to a thing.

    Attributes:
        left_px, top_px: where the mask begins in the image.
        mask: of the size of the thing's tight box, with at least one pixel.
    """

    left_px: int
    top_px: int
    mask: Mask

    @property
    def box_xyxy_px(self) -> BoxXyxy:
        """Tight box in image pixels, right and bottom exclusive."""
        height, width = self.mask.shape
        return (
            float(self.left_px), float(self.top_px),
            float(self.left_px + width), float(self.top_px + height),
        )  # fmt: skip

    def within(self, left_px: int, top_px: int, size_hw_px: tuple[int, int]) -> Mask:
        """Return the mask as a window of the image shows it."""
        shown = np.zeros(size_hw_px, np.uint8)
        dx, dy = self.left_px - left_px, self.top_px - top_px
        x1, y1 = max(dx, 0), max(dy, 0)
        x2 = min(dx + self.mask.shape[1], size_hw_px[1])
        y2 = min(dy + self.mask.shape[0], size_hw_px[0])
        if x2 > x1 and y2 > y1:
            shown[y1:y2, x1:x2] = self.mask[y1 - dy : y2 - dy, x1 - dx : x2 - dx]
        return shown


def from_pixels(mask: Mask) -> TrueMask | None:
    """Cut a mask of a whole image down to its tight box; None if it is empty."""
    box = tight_box(mask)
    if box is None:
        return None
    x1, y1, x2, y2 = box
    return TrueMask(x1, y1, mask[y1:y2, x1:x2].copy())


def from_outlines(outlines: Sequence[PolygonXy], size_hw_px: tuple[int, int]) -> TrueMask | None:
    """Fill outlines: a pixel belongs to the mask if half of it lies within; None if none does."""
    corners = np.concatenate([np.array(outline, np.float64) for outline in outlines])
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, size_hw_px[::-1]).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)), 0, size_hw_px[::-1]).astype(int)
    if right <= left or bottom <= top:
        return None
    fine = np.zeros(((bottom - top) * _FINER, (right - left) * _FINER), np.uint8)
    for outline in outlines:
        # Pixel (0, 0) reaches from 0 to 1 here, and lies around (0, 0) for OpenCV.
        placed = (np.array(outline, np.float64) - (left, top)) * _FINER - 0.5
        points = np.rint(placed * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(fine, [points], 255, lineType=cv2.LINE_8, shift=_SUBPIXEL_BITS)
    fractions = cv2.resize(fine, (int(right - left), int(bottom - top)), interpolation=cv2.INTER_AREA)
    found = from_pixels(np.asarray(fractions >= 128, np.uint8))
    return found and TrueMask(found.left_px + int(left), found.top_px + int(top), found.mask)


def from_run_lengths(counts: Sequence[int], size_hw_px: tuple[int, int]) -> TrueMask | None:
    """Read COCO's uncompressed run lengths: column by column, zeros first; None if the mask is empty.

    Raises:
        ValueError: if they do not add up to the image.
    """
    height, width = size_hw_px
    runs = np.asarray(counts, np.int64)
    if (runs < 0).any() or int(runs.sum()) != height * width:
        raise ValueError("run lengths that do not add up to the image")
    values = np.repeat(np.arange(len(runs)) % 2, runs).astype(np.uint8)
    return from_pixels(np.ascontiguousarray(values.reshape(width, height).T))


def main_piece(mask: Mask, box_xyxy_px: BoxXyxy) -> Mask:
    """Keep the piece of a mask that has most pixels within a box; nothing if none has any."""
    count, pieces = cv2.connectedComponents(mask, connectivity=8)
    x1, y1, x2, y2 = (round(side) for side in box_xyxy_px)
    inside = pieces[max(y1, 0) : y2, max(x1, 0) : x2]
    pixels = np.bincount(inside[inside > 0], minlength=count)
    best = int(pixels.argmax())
    return np.asarray((pieces == best) & (best > 0), np.uint8)


def outline_of(mask: Mask, tolerance_px: float) -> PolygonXy | None:
    """Draw the outline of a mask of one piece; None if it is empty. Holes are filled.

    Args:
        mask: of a window or image.
        tolerance_px: how far the outline may leave the rim.
    Returns:
        At least three corners, in pixels whose first reaches from 0 to 1. It runs along the outer side of
        the pixels, so that the box around it is the tight box of the mask, to within the tolerance.
    """
    box = tight_box(mask)
    if box is None:
        return None
    x1, y1, x2, y2 = box
    fine = np.kron(mask[y1:y2, x1:x2], np.ones((_FINER, _FINER), np.uint8))
    contours, _ = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contour = max(contours, key=cv2.contourArea)
    corners = cv2.approxPolyDP(contour, tolerance_px * _FINER, closed=True).reshape(-1, 2)
    if len(corners) < 3:
        corners = cv2.boxPoints(cv2.minAreaRect(contour))
    low, high = corners.min(axis=0), corners.max(axis=0)
    # The contour runs through the centres of the fine pixels; their outer side is half of one further out.
    stretched = low + (corners - low) * (high - low + 1) / np.maximum(high - low, 1)
    return tuple((float(x) / _FINER + x1, float(y) / _FINER + y1) for x, y in stretched)


def overlap(one: Mask, two: Mask) -> float:
    """Compute intersection over union; 1 where both are empty."""
    union = int(np.count_nonzero(one | two))
    return int(np.count_nonzero(one & two)) / union if union else 1.0
