"""Change the pixels that a defect covers, as strongly as a given difficulty needs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.image import Image
from edge.simulator.ground_truth import Difficulty, Mask
from edge.simulator.planes import Plane

CONTRAST_RANGES: dict[Difficulty, tuple[float, float]] = {
    "obvious": (9.0, 13.0),
    "clear": (6.5, 8.5),
    "subtle": (4.5, 5.5),
    "barely visible": (1.0, 1.5),
}
"""Strength of a small defect over the standard deviation of clean cloth, both blurred over one yarn.

Clean cloth itself has specks of two to three deviations somewhere in every image, so a small
defect that is to be seen has to reach beyond them.
"""

SPREAD_PERCENTILE = 85.0
"""The strength of a defect is this percentile of its blurred shade: its body, not its one best pixel."""

QUIET_CLOTH_GREY = 2.5
"""Least deviation reckoned with: on a very even cloth a smaller step would vanish in 8 bits."""

STRONGEST_GREY = 120.0
"""Largest step drawn before blurring, grey levels."""


Tint = tuple[float, float, float]
"""Blue, green and red that grey levels are multiplied with, mean 1."""


BLINDING_GREY = 235.0
"""A bright defect that would reach beyond this is drawn dark: on white cloth white is not seen."""


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """Hold the form of a defect, before it is given a contrast.

    Attributes:
        shade: (H, W) float32 in [-1, 1], the brightness added.
        fade: (H, W) float32 in [0, 1], how much of the weave disappears.
        body: (H, W) bool, the pixels that belong to the defect; outside nothing changes.
        lit: fraction of the shade that multiplies the brightness of the yarns, as light and dye do; the
            rest is added to it.
    """

    shade: Plane
    fade: Plane
    body: NDArray[np.bool_]
    lit: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """Change pixels: ``new = old * keep + plus``.

    Attributes:
        keep: (H, W) float32, 0 or more; above 1 where light makes the yarns brighter.
        plus: (H, W) float32, grey levels.
        tint: what `plus` is multiplied with in blue, green and red.
        mask: (H, W) uint8, 1 where anything changes.
    """

    keep: Plane
    plus: Plane
    tint: Tint
    mask: Mask


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """Describe the clean cloth a defect is planted in.

    Attributes:
        grey: (W,) or (H, W) float32, mean brightness of each column or pixel, grey levels.
        deviation_grey: standard deviation of the cloth blurred over one yarn, grey levels: of the whole, or
            (H, W) float32.
        blur_px: Gaussian width of that blur.
        tint: blue, green and red of the cloth, mean 1.
    """

    grey: Plane
    deviation_grey: float | Plane
    blur_px: float
    tint: Tint

    def part(self, rows: slice, columns: slice) -> Ground:
        """Return the cloth under a part of the image."""
        grey = self.grey[columns] if self.grey.ndim == 1 else self.grey[rows, columns]
        deviation = self.deviation_grey
        if isinstance(deviation, np.ndarray):
            deviation = deviation[rows, columns]
        return replace(self, grey=grey, deviation_grey=deviation)


def measure_ground(image: Image, ground_px: tuple[int, int], pitch_px: float) -> Ground:
    """Measure a clean image of cloth.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        ground_px: first and last-plus-one column of the cloth without its selvedges.
        pitch_px: distance between yarns.
    """
    planes = image.reshape(*image.shape[:2], -1)
    bgr = planes[:, slice(*ground_px)].mean(axis=(0, 1)) * np.ones(3)
    blue, green, red = bgr / max(float(bgr.mean()), 1.0)
    grey = planes.mean(axis=2, dtype=np.float32)
    columns_grey = cv2.blur(grey.mean(axis=0, keepdims=True), (31, 1))[0]
    blur_px = 0.8 * pitch_px
    fine = cv2.GaussianBlur(grey[:, slice(*ground_px)], (0, 0), blur_px)
    deviation = float((fine - cv2.GaussianBlur(fine, (0, 0), 6 * blur_px)).std())
    tint = (float(blue), float(green), float(red))
    return Ground(columns_grey, max(deviation, QUIET_CLOTH_GREY), blur_px, tint)


def patch_from_figure(figure: Figure, ground: Ground, strength: float, tint: Tint | None = None) -> Patch:
    """Give a figure its contrast on this cloth.

    Args:
        figure: (H, W) form.
        ground: the cloth under it; its columns, or pixels, are those of the figure.
        strength: wanted blurred contrast, in deviations of the ground.
        tint: colour of what is added; None for that of the cloth.
    """
    shade = np.where(figure.body, figure.shade, np.float32(0))
    size = np.abs(shade)
    blurred = cv2.GaussianBlur(size, (0, 0), ground.blur_px, borderType=cv2.BORDER_CONSTANT)
    reach = float(np.percentile(blurred[figure.body], SPREAD_PERCENTILE))
    amplitude = np.minimum(strength * ground.deviation_grey / max(reach, 0.05), STRONGEST_GREY)
    if shade.sum() > 0 and float(ground.grey.mean()) + float(amplitude.mean()) > BLINDING_GREY:
        shade = -shade
    keep = np.where(figure.body, 1 - figure.fade, 1).astype(np.float32)
    step = amplitude.astype(np.float32) * shade
    plus = (1 - keep) * ground.grey + np.float32(1 - figure.lit) * step
    if figure.lit:
        light = np.maximum(1 + figure.lit * step / np.maximum(ground.grey, 1), 0).astype(np.float32)
        keep, plus = keep * light, plus * light
    return Patch(keep, plus.astype(np.float32), tint or ground.tint, figure.body.astype(np.uint8))


def apply_patch(region: Image, patch: Patch, rows: slice) -> None:
    """Change a region of an image in place.

    Args:
        region: (H, W) or (H, W, 3) uint8, a view.
        patch: the whole patch, as broad as the region.
        rows: rows of the patch that fall on the region.
    """
    keep, plus = patch.keep[rows], patch.plus[rows]
    if region.ndim == 3:
        keep = keep[:, :, None]
        plus = plus[:, :, None] * np.asarray(patch.tint, dtype=np.float32)
    changed = region * keep
    changed += plus
    np.rint(changed, out=changed)
    region[...] = np.clip(changed, 0, 255, out=changed)
