"""Measure a real image of clean cloth: where defects may be planted, its brightness and roughness."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edge.cloth.finder import GrainFinder
from edge.cloth.grain import CELL_PX
from edge.cloth.mask import Mask
from edge.core.image import Image
from edge.simulator.patch import QUIET_CLOTH_GREY, Ground, Tint
from edge.simulator.planes import Plane, as_plane

SELVEDGE_MM = 10.0
"""Nearer to the edge of the cloth nothing is planted: `edge-run` reports nothing there either
(`selvedge_margin_mm`)."""

LIGHT_PX = 31
"""Side of the window that brightness is averaged over."""

ROUGHNESS_PX = 129
"""Side of the window that the deviation of the cloth is taken over."""

GRAIN_BLUR_PX = 0.7
"""What a blur of this width takes away is the noise of the camera: it shows where no weave does, too."""


def as_asked(image: Image, colour: bool) -> Image:
    """Return an image as BGR if colour is asked for, else as grey."""
    if colour == (image.ndim == 3):
        return image
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR if colour else cv2.COLOR_BGR2GRAY), np.uint8)


def grey_of(image: Image) -> Image:
    """Return an image as grey."""
    return as_asked(image, colour=False)


def plantable(image: Image, mm_per_px: float) -> Mask:
    """Tell where defects may be planted: on cloth, off its selvedges; never on bed, padding or black.

    Args:
        image: (H, W) grey or (H, W, 3) BGR, uint8.
        mm_per_px: scale.
    Returns:
        (H, W) bool.
    """
    height, width = image.shape[:2]
    margin_px = min(SELVEDGE_MM / mm_per_px, min(height, width) / 4)
    cells = GrainFinder().find(image).without_edge(max(margin_px, CELL_PX)).cells
    return cells.repeat(CELL_PX, axis=0).repeat(CELL_PX, axis=1)[:height, :width]


def ground_of(image: Image, is_cloth: Mask, pitch_px: float) -> Ground:
    """Measure a piece of real cloth, pixel by pixel, over what is cloth.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        is_cloth: (H, W) bool.
        pitch_px: distance between yarns.
    Returns:
        Its brightness holds the finest grain, that of the camera: a spot that hides the weave is not
        smoother than the image around it.
    """
    cloth = is_cloth.astype(np.float32)
    grey = grey_of(image).astype(np.float32)
    light = _mean(grey, cloth, LIGHT_PX)
    blur_px = 0.8 * pitch_px
    level = np.where(is_cloth, grey, light)
    fine = cv2.GaussianBlur(level, (0, 0), blur_px)
    unevenness = fine - cv2.GaussianBlur(fine, (0, 0), 6 * blur_px)
    deviation = np.sqrt(_mean(as_plane(unevenness**2), cloth, ROUGHNESS_PX))
    grain = grey - cv2.GaussianBlur(grey, (0, 0), GRAIN_BLUR_PX)
    return Ground(
        as_plane(light + grain),
        as_plane(np.maximum(deviation, QUIET_CLOTH_GREY)),
        blur_px,
        _tint(image, is_cloth),
    )


@dataclass(frozen=True, slots=True)
class Window:
    """Name a part of an image: its upper left pixel and its size.

    Attributes:
        top, left: first line and first column.
        size_hw: lines and columns.
    """

    top: int
    left: int
    size_hw: tuple[int, int]

    @property
    def slices(self) -> tuple[slice, slice]:
        """Return its lines and columns, to index an image or a mask with."""
        return slice(self.top, self.top + self.size_hw[0]), slice(self.left, self.left + self.size_hw[1])


def _mean(values: Plane, cloth: Plane, side_px: int) -> Plane:
    """Average over what is cloth in a window around each pixel."""
    size = (side_px, side_px)
    return as_plane(cv2.blur(values * cloth, size) / np.maximum(cv2.blur(cloth, size), 1e-6))


def _tint(image: Image, is_cloth: Mask) -> Tint:
    """Return blue, green and red of the cloth, mean 1."""
    if image.ndim == 2 or not is_cloth.any():
        return 1.0, 1.0, 1.0
    bgr = image[is_cloth].mean(axis=0)
    blue, green, red = bgr / max(float(bgr.mean()), 1.0)
    return float(blue), float(green), float(red)
