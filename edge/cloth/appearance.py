"""Measure what the image shows inside the box of a defect against the cloth around it."""

from __future__ import annotations

from math import ceil, floor, sqrt
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.appearance import Appearance
from edge.core.image import Image

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
BoxXyxyPx = tuple[float, float, float, float]

SCALE_MM = 0.2
"""Images that are finer are measured at this scale: a yarn is a pixel or more, noise and work are less."""

FINE_MM, SMOOTH_MM = 0.3, 0.6
"""Deviations of the two blurs: over the first a missing yarn is still seen, over the second the weave of
most cloth is gone."""

AROUND_MM = (2.0, 6.4)
"""Least and most of the cloth around a box that it is compared with: half of the shorter side between."""

LONGEST_MM = 150.0
"""Of a larger box its middle is measured, so far each way: bounds time and memory."""

STANDS_OUT = 2.5
"""Deviations of the cloth around from which a pixel stands out; of a strong defect `PART_OF_PEAK`."""

PART_OF_PEAK = 0.45
LEAST_PIXELS = 5
NOISE_GREY = 0.3
"""Deviation of an image without any: a grey level is rounded by as much."""


class _Window(NamedTuple):
    """Hold a box with the cloth around it, at the scale that it is measured at.

    Attributes:
        grey: (H, W) float32.
        box: rows and columns of the box.
        is_around: (H, W) bool, the cloth it is compared with.
        mm_per_px: of it.
    """

    grey: Floats
    box: tuple[slice, slice]
    is_around: Mask
    mm_per_px: float


def measure_appearance(
    image: Image, box_xyxy_px: BoxXyxyPx, mm_per_px_xy: tuple[float, float]
) -> Appearance | None:
    """Measure one defect.

    Args:
        image: (H, W) grey or (H, W, 3) BGR, uint8.
        box_xyxy_px: in its pixels; what lies beyond the image is cut off.
        mm_per_px_xy: scale across the cloth and along it.
    Returns:
        None if nothing of the box lies in the image, or all of the image is box.
    """
    window = _window(image, box_xyxy_px, mm_per_px_xy)
    if window is None:
        return None
    fine, smooth = (_deviations(window, sigma_mm) for sigma_mm in (FINE_MM, SMOOTH_MM))
    fine_core, smooth_core = _core(fine[window.box]), _core(smooth[window.box])
    lightest, darkest = np.percentile(smooth[window.box], (98, 2)).tolist()
    return Appearance(
        fill=round(float(fine_core.mean()), 4),
        straight_along=_straightness(fine[window.box]),
        straight_across=_straightness(fine[window.box].T),
        sway_mm=round(_sway_px(fine_core) * window.mm_per_px, 4),
        thickness_mm=round(_thickness_px(smooth_core) * window.mm_per_px, 4),
        weave=_weave(window, fine),
        lighter=round(max(0.0, lightest), 4),
        darker=round(max(0.0, -darkest), 4),
    )


def _window(image: Image, box: BoxXyxyPx, mm_per_px_xy: tuple[float, float]) -> _Window | None:
    """Cut out a box with the cloth around it, in square pixels."""
    target_mm = max(SCALE_MM, *mm_per_px_xy)
    spans = [_span(box[axis], box[axis + 2], image.shape[1 - axis], mm_per_px_xy[axis]) for axis in (0, 1)]
    (left, right), (top, bottom) = spans
    if left >= right or top >= bottom:
        return None
    shorter_mm = min((right - left) * mm_per_px_xy[0], (bottom - top) * mm_per_px_xy[1])
    around_mm = min(max(shorter_mm / 2, AROUND_MM[0]), AROUND_MM[1])
    reach_x, reach_y = (max(1, round(around_mm / scale)) for scale in mm_per_px_xy)
    x0, x1 = max(0, left - reach_x), min(image.shape[1], right + reach_x)
    y0, y1 = max(0, top - reach_y), min(image.shape[0], bottom + reach_y)
    cut = image[y0:y1, x0:x1]
    grey = cut if cut.ndim == 2 else cv2.cvtColor(cut, cv2.COLOR_BGR2GRAY)
    scales = [scale / target_mm for scale in mm_per_px_xy]
    size_wh = tuple(
        max(1, round(side * scale)) for side, scale in zip(grey.shape[::-1], scales, strict=True)
    )
    if size_wh != grey.shape[::-1]:
        grey = cv2.resize(grey, size_wh, interpolation=cv2.INTER_AREA)
    rows = _scaled(top - y0, bottom - y0, scales[1], size_wh[1])
    columns = _scaled(left - x0, right - x0, scales[0], size_wh[0])
    is_around = np.ones(grey.shape, np.bool_)
    is_around[rows, columns] = False
    if not is_around.any():
        return None
    return _Window(np.asarray(grey, np.float32), (rows, columns), is_around, target_mm)


def _span(low_px: float, high_px: float, side_px: int, mm_per_px: float) -> tuple[int, int]:
    """Return the first and last-plus-one pixel of a side of a box, within the image and not too long."""
    low, high = max(0, floor(low_px)), min(side_px, ceil(high_px))
    over = high - low - max(1, round(LONGEST_MM / mm_per_px))
    return (low, high) if over <= 0 else (low + over // 2, high - (over - over // 2))


def _scaled(low: int, high: int, scale: float, side: int) -> slice:
    first = min(round(low * scale), side - 1)
    return slice(first, max(first + 1, min(side, round(high * scale))))


def _deviations(window: _Window, sigma_mm: float) -> Floats:
    """Return how far each pixel lies off the cloth around the box, in robust deviations of that."""
    blurred = cv2.GaussianBlur(window.grey, (0, 0), max(0.5, sigma_mm / window.mm_per_px))
    around = blurred[window.is_around]
    middle = np.median(around)
    spread = 1.4826 * np.median(np.abs(around - middle)) + NOISE_GREY
    return np.asarray((blurred - middle) / spread, np.float32)


def _core(deviations: Floats) -> Mask:
    """Tell which pixels stand out of the cloth."""
    away = np.abs(deviations)
    return np.asarray(away > max(STANDS_OUT, PART_OF_PEAK * float(away.max())), np.bool_)


def _straightness(deviations: Floats) -> float:
    """Return the peak of the mean of all rows over the mean of the peaks of the rows."""
    profile = deviations.mean(axis=0)
    peak = np.abs(profile - np.median(profile)).max()
    peaks = np.abs(deviations - np.median(deviations)).max(axis=1).mean()
    return round(float(peak / max(float(peaks), 1e-6)), 4)


def _sway_px(core: Mask) -> float:
    """Return the length of the shorter axis of the ellipse with the same second moments."""
    ys, xs = np.nonzero(core)
    if len(xs) < LEAST_PIXELS:
        return 0.0
    least = float(np.linalg.eigvalsh(np.cov(np.stack([xs, ys])))[0])
    return 4 * sqrt(max(least, 0.05))


def _thickness_px(core: Mask) -> float:
    """Return the diameter of the largest circle within the core; it lies in the box."""
    framed = np.pad(core.astype(np.uint8), 1)
    return 2 * float(cv2.distanceTransform(framed, cv2.DIST_L2, 5).max())


def _weave(window: _Window, deviations: Floats) -> float:
    """Return the fine contrast of what stands out most over that of the cloth around."""
    blurred = cv2.GaussianBlur(window.grey, (0, 0), max(0.5, FINE_MM / window.mm_per_px))
    grain = np.abs(window.grey - blurred)
    inside = np.abs(deviations[window.box])
    core = inside > 0.5 * inside.max()
    around = max(float(grain[window.is_around].mean()), 1e-3)
    return round(float(grain[window.box][core].mean()) / around, 4) if core.any() else 1.0
