"""Normalise an image to its local contrast: lamp, exposure and dye lot drop out, the weave stays."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.image import Image

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

WINDOW_PX = 200
"""Side of the window that mean and standard deviation are taken over: some forty yarns. Of defects planted
in real clean strips 52 px found 0.512, 100 px 0.568, 200 px 0.580, 400 px 0.572."""

STEP_PX = 4
"""They are measured on an image so many times smaller."""

LARGEST = 3.125
"""Standard deviations at which the contrast is cut off: a lamp's reflection weighs no more than a knot."""

LEAST_VARIANCE = 4.0
"""Grey levels squared, below which it is the noise of a camera."""

DARKEST_GREY, BRIGHTEST_GREY = 4.0, 250.0
"""Beyond these nothing could be seen."""

LEAST_DEVIATION = 0.5
"""Grey levels within `BLANK_PX`, below which an area is blank: padding, a lens cap, a bare lamp."""

BLANK_PX = 20
"""Side of the window that is blank or not."""

LEAST_BLANK_PX = 40
"""What is blank and narrower than that is a defect of the cloth."""


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """Hold an image and its contrast around each cell of 4 x 4 px.

    Attributes:
        grey: (H, W) uint8.
        mean, gain: (H / 4, W / 4) float32, local mean and the inverse of the local standard deviation.
        is_seen: (H, W) bool, cloth that is neither blank, black nor saturated; None if all is.
        brightness: mean grey of all that is cloth, 0 to 255.
    """

    grey: Image
    mean: Floats
    gain: Floats
    is_seen: Mask | None
    brightness: float

    def values(self, first_px: int, last_px: int) -> Floats:
        """Return the local contrast of some columns, so few that they stay in a processor's cache.

        Args:
            first_px, last_px: multiples of 4.
        Returns:
            (H, last_px - first_px) float32, standard deviations from the local mean; 0 off the cloth.
        """
        cells = slice(max(0, first_px // STEP_PX - 1), last_px // STEP_PX + 1)
        from_px = first_px - cells.start * STEP_PX
        inner = np.s_[:, from_px : from_px + last_px - first_px]
        mean, gain = (_enlarged(plane[:, cells])[inner] for plane in (self.mean, self.gain))
        values = np.subtract(self.grey[:, first_px:last_px], mean, dtype=np.float32)
        np.multiply(values, gain, out=values)
        np.clip(values, -LARGEST, LARGEST, out=values)
        if self.is_seen is not None:
            values[~self.is_seen[:, first_px:last_px]] = 0
        return values


def local_contrast(grey: Image, is_cloth: Mask | None = None) -> Contrast:
    """Normalise an image by the mean and the standard deviation around each pixel, taken over cloth alone.

    Args:
        grey: (H, W) uint8, sides multiples of 4.
        is_cloth: (H, W) bool; None for all.
    """
    values = grey.astype(np.float32)
    small_wh = (grey.shape[1] // STEP_PX, grey.shape[0] // STEP_PX)
    cloth = np.ones(small_wh[::-1], np.float32)
    if is_cloth is not None:
        cloth = _shrunk(is_cloth.astype(np.float32), small_wh)
        values *= is_cloth
    first = _shrunk(values, small_wh)
    second = _shrunk(np.square(values, out=values), small_wh)
    seen = (cloth > 0.5) & ~_is_blank(first, second, cloth)
    is_seen = is_cloth
    if not seen.all():
        weight = (seen & (cloth > 0)).astype(np.float32)
        first, second, cloth = first * weight, second * weight, cloth * weight
        is_seen = _enlarged(seen.astype(np.uint8), cv2.INTER_NEAREST) > 0
        if is_cloth is not None:
            is_seen &= is_cloth
    mean, deviation = _moments(first, second, cloth, WINDOW_PX)
    total = float(cloth.sum(dtype=np.float64))
    brightness = float(first.sum(dtype=np.float64)) / total if total else float(grey.mean())
    return Contrast(grey, mean, np.reciprocal(deviation), is_seen, brightness)


def _moments(first: Floats, second: Floats, cloth: Floats, window_px: int) -> tuple[Floats, Floats]:
    """Return mean and standard deviation, in a window around each cell, of what is cloth."""
    side = window_px // STEP_PX
    size = (side | 1, side | 1)
    weight = np.maximum(cv2.blur(cloth, size), 1e-6)
    mean = np.asarray(cv2.blur(first, size) / weight, np.float32)
    variance = cv2.blur(second, size) / weight - mean * mean
    return mean, np.sqrt(np.maximum(variance, np.float32(LEAST_VARIANCE)))


def _is_blank(first: Floats, second: Floats, cloth: Floats) -> Mask:
    """Find wide areas that show nothing: flat, black or saturated."""
    side = BLANK_PX // STEP_PX
    weight = np.maximum(cv2.blur(cloth, (side, side)), 1e-6)
    mean = cv2.blur(first, (side, side)) / weight
    variance = cv2.blur(second, (side, side)) / weight - mean * mean
    blank = (mean < DARKEST_GREY) | (mean > BRIGHTEST_GREY) | (variance < LEAST_DEVIATION**2)
    if not blank.any():
        return np.asarray(blank, np.bool_)
    around = np.ones((LEAST_BLANK_PX // STEP_PX,) * 2, np.uint8)
    wide = cv2.morphologyEx(blank.astype(np.uint8), cv2.MORPH_OPEN, around)
    return np.asarray(cv2.dilate(wide, np.ones((3, 3), np.uint8)) > 0, np.bool_)


def _shrunk(plane: Floats, size_wh: tuple[int, int]) -> Floats:
    return np.asarray(cv2.resize(plane, size_wh, interpolation=cv2.INTER_AREA), np.float32)


def _enlarged(
    plane: NDArray[np.float32] | NDArray[np.uint8], interpolation: int = cv2.INTER_LINEAR
) -> NDArray[np.float32]:
    """Return a plane of cells at the size of their image."""
    return np.asarray(cv2.resize(plane, None, fx=STEP_PX, fy=STEP_PX, interpolation=interpolation))
