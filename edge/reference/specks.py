"""Find specks: neps, fuzz and knots of a few pixels, in a weave whose yarns are no smaller.

The filter is the matched one for a spot in noise that has the power spectrum of the cloth (North, 1943; the
weave is that noise): where the weave has power it lets little through.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.reference.contrast import Floats, Mask
from edge.reference.trunk import STRIDE_PX

SIDE_PX = 64
"""Of the windows that spectra are taken of: eight yarns and more."""

SPOT_PX = 2.0
"""Standard deviation of the spot that is looked for. Of specks of 2 to 5 px drawn into real clean strips
0.8 px found 0.14, 1.2 px 0.20, 2.0 px 0.26, 2.5 px 0.22; without the filter 0.08 were found."""

FLOOR = 0.02
"""Of the mean power, added to each: frequencies that the cloth hardly has must not decide."""

REACH_PX = 16
"""Of the filter, to each side."""

STEP_PX = 2
"""Specks are looked for in an image so many times smaller: a spot of 2 px has next to no power above its
highest frequency."""


def spectrum_of(contrast: Floats, is_judged: Mask) -> tuple[NDArray[np.float64], int]:
    """Measure the power spectrum of cloth.

    Args:
        contrast: (4 h, 4 w) float32.
        is_judged: (h, w), cells that count.
    Returns:
        (SIDE_PX, SIDE_PX) sum over windows, and how many; none where no window is all cloth.
    """
    total, windows = np.zeros((SIDE_PX, SIDE_PX)), 0
    taper = np.outer(np.hanning(SIDE_PX), np.hanning(SIDE_PX))
    for window in _windows(contrast, is_judged):
        total += np.abs(np.fft.fft2((window - window.mean()) * taper)) ** 2
        windows += 1
    return total, windows


def _windows(contrast: Floats, is_judged: Mask) -> Iterable[Floats]:
    """Cut windows that are all cloth, half over one another along the warp."""
    cells = SIDE_PX // STRIDE_PX
    height, width = is_judged.shape
    for top in range(0, height - cells + 1, cells // 2):
        for left in range(0, width - cells + 1, cells):
            if is_judged[top : top + cells, left : left + cells].all():
                y, x = top * STRIDE_PX, left * STRIDE_PX
                yield contrast[y : y + SIDE_PX, x : x + SIDE_PX]


def speck_filter(spectrum: NDArray[np.float64]) -> Floats:
    """Return the filter for specks in cloth of a power spectrum.

    Returns:
        (17, 17) float32, one value for each `STEP_PX`, with the sum 0.
    """
    side = SIDE_PX // STEP_PX
    at = np.fft.fftfreq(side, 1 / side).astype(int)
    low = spectrum[np.ix_(at, at)]
    down, across = np.meshgrid(*(at / SIDE_PX,) * 2, indexing="ij")
    spot = np.exp(-2 * (np.pi * SPOT_PX) ** 2 * (down**2 + across**2))
    wanted = spot / (low + FLOOR * spectrum.mean())
    wanted[0, 0] = 0
    reach = REACH_PX // STEP_PX
    middle = slice(side // 2 - reach, side // 2 + reach + 1)
    taper = np.hanning(2 * reach + 3)[1:-1]
    kernel = np.fft.fftshift(np.fft.ifft2(wanted).real)[middle, middle] * np.outer(taper, taper)
    kernel -= kernel.mean()
    return np.asarray(kernel / np.abs(kernel).sum(), np.float32)


def speck_response(contrast: Floats, kernel: Floats) -> Floats:
    """Return the greatest response in each cell, around the cell's first pixel as the trunk's features are.

    Args:
        contrast: (4 h, 4 w) float32.
        kernel: of `speck_filter`.
    Returns:
        (h, w) float32.
    """
    height, width = contrast.shape
    small = cv2.resize(contrast, (width // STEP_PX, height // STEP_PX), interpolation=cv2.INTER_AREA)
    response = cv2.filter2D(small, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT_101)
    side = STRIDE_PX // STEP_PX
    back = side // 2
    response = cv2.copyMakeBorder(response, back, 0, back, 0, cv2.BORDER_REPLICATE)[:-back, :-back]
    rows = _greatest(np.abs(response, out=np.asarray(response, np.float32)), side)
    return np.ascontiguousarray(_greatest(rows.T, side).T)


def _greatest(plane: Floats, side: int) -> Floats:
    """Return the greatest of every so many rows."""
    greatest: Floats = plane[::side].copy()
    for first in range(1, side):
        np.maximum(greatest, plane[first::side], out=greatest)
    return greatest
