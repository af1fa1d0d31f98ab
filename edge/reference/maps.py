"""Turn distances into maps: one channel for each size and shape of what may not belong to the cloth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.reference.contrast import Floats, Mask

Shape = Literal["spot", "warp line", "weft line", "area"]

Source = Literal["cells", "lines", "pixels"]


@dataclass(frozen=True, slots=True)
class Channel:
    """Describe a channel: what is measured, and in which window.

    Attributes:
        shape: of a defect that it finds first.
        size_hw: of the window, in cells.
        source: mean of the distances of `cells`; distance of the mean features of `lines`, where a small
            difference that goes on along a yarn adds up, and what varies from cell to cell cancels out; or
            the greatest response of `pixels` to a filter for specks.
        angles_deg: of lines through the window, from the weft; the largest of their means counts. Without
            any the whole window is averaged.
    """

    shape: Shape
    size_hw: tuple[int, int]
    source: Source = "cells"
    angles_deg: tuple[float, ...] = ()


CHANNELS: Mapping[str, Channel] = {
    "spot": Channel("spot", (1, 1)),
    "patch": Channel("spot", (3, 3)),
    "warp_line": Channel("warp line", (17, 1)),
    "slant": Channel("spot", (15, 15), angles_deg=(22.5, 45, 67.5, 112.5, 135, 157.5)),
    "end": Channel("warp line", (36, 1), "lines"),
    "pick": Channel("weft line", (1, 36), "lines"),
    "speck": Channel("spot", (1, 1), "pixels"),
}
"""What each is worth: docs/benchmarks/reference.md, section What was chosen."""

LINES = tuple(name for name, channel in CHANNELS.items() if channel.source == "lines")
"""Channels with features of their own."""

LEAST_COVERED = 0.5
"""A window with less of it judged has no value."""

MEDIAN_STEP = 7
"""Every so many cells are enough for a median."""

PROFILE_CELLS = 4
"""Of the width, that share one value of the profile."""

PROFILE_REACH = 4
"""Values to each side that a value of the profile is the median of: 144 px, wider than a crease or a band
of broken ends. What belongs to the cloth is wider: the fall-off of a lens or a lamp, a selvedge."""

PROFILE_TOP = 1.5
"""Times the median, above which a distance does not count further for the profile."""

PROFILE_RANGE = (0.7, 1.8)
"""The profile's own limits, as ratios to the median: wide defects must not become usual."""


SPREAD_CELLS = 101
"""Of the width, that the variation is averaged over: 400 px."""

SPREAD_TOP = 3.0
"""Times the mean, above which a deviation does not count further."""

SPREAD_RANGE = (0.5, 2.5)


def relative(distances: Floats, is_judged: Mask) -> Floats:
    """Divide distances by what is usual in their column of the image; 0 where nothing is judged.

    The lens is less sharp and the lamp less bright at the sides of an image, which has nothing to do with
    defects: on real strips the largest distances of clean cloth all lay there.
    """
    profile = column_profile(distances, is_judged)
    return np.asarray(np.where(is_judged, distances / profile, 0), np.float32)


def column_profile(distances: Floats, is_judged: Mask) -> Floats:
    """Measure the usual distance along the width.

    Args:
        distances: (h, w).
        is_judged: (h, w), with at least one True.
    Returns:
        (w,) float32, positive.
    """
    median = max(median_of(distances, is_judged), 1e-6)
    counted = np.where(is_judged, np.minimum(distances, np.float32(PROFILE_TOP * median)), 0)
    sums = _by_blocks(counted.sum(axis=0, dtype=np.float64))
    counts = _by_blocks(is_judged.sum(axis=0, dtype=np.float64))
    values = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    around = np.lib.stride_tricks.sliding_window_view(
        np.pad(values, PROFILE_REACH, constant_values=np.nan), 2 * PROFILE_REACH + 1
    )
    known = counts > 0
    centres = (np.arange(len(values)) + 0.5) * PROFILE_CELLS - 0.5
    smooth = _medians_of_known(around[known]) / float(np.median(values[known]))
    columns = np.interp(np.arange(distances.shape[1]), centres[known], smooth)
    return np.asarray(np.clip(columns, *PROFILE_RANGE) * median, np.float32)


def _medians_of_known(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median of each row without its NaN, of which no row is full: `nanmedian` is far slower."""
    ordered = np.sort(rows, axis=1)
    known = np.count_nonzero(~np.isnan(rows), axis=1)
    each = np.arange(len(rows))
    return np.asarray((ordered[each, (known - 1) // 2] + ordered[each, known // 2]) / 2, np.float64)


def median_of(values: Floats, is_valid: Mask) -> float:
    """Return the median of an even sample of the values that count."""
    return float(np.median(values[is_valid][::MEDIAN_STEP]))


def spread_profile(deviations: Floats, is_valid: Mask) -> Floats:
    """Measure along the width how much a channel varies on clean cloth, as a ratio to its median.

    Args:
        deviations: (h, w), a channel's distances from its median, either way.
        is_valid: (h, w), where they count.
    Returns:
        (w,) float32.
    """
    top = np.float32(SPREAD_TOP * float(deviations[is_valid][::MEDIAN_STEP].mean()))
    counted = np.where(is_valid, np.minimum(deviations, top), 0)
    window = np.ones((1, SPREAD_CELLS), np.float64)
    sums, counts = (
        cv2.filter2D(plane.sum(axis=0, dtype=np.float64)[None], -1, window, borderType=cv2.BORDER_CONSTANT)[
            0
        ]
        for plane in (counted, is_valid)
    )
    means = sums / np.maximum(counts, 1)
    known = means[is_valid.any(axis=0)]
    return np.asarray(np.clip(means / max(float(np.median(known)), 1e-9), *SPREAD_RANGE), np.float32)


def evened(values: Floats, is_valid: Mask) -> Floats:
    """Return a channel's deviations from its median, divided by how much it varies there along the width.

    Args:
        values, is_valid: (h, w), with at least one True.
    Returns:
        (h, w) float32; 0 where a value does not count.
    """
    deviations = values - np.float32(median_of(values, is_valid))
    even = deviations / spread_profile(np.abs(deviations), is_valid)
    return np.asarray(np.where(is_valid, even, 0), np.float32)


def crest_of(even: Floats, is_valid: Mask) -> float:
    """Measure how far an image usually goes: the median over its width of each column's greatest deviation.

    What is narrower than half of the image does not count; what runs along most of it does.

    Args:
        even: of `evened`.
    """
    greatest = even.max(axis=0)[is_valid.any(axis=0)]
    return float(np.median(greatest))


def _by_blocks(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum up neighbouring columns."""
    return np.add.reduceat(columns, np.arange(0, len(columns), PROFILE_CELLS))


def channel_values(planes: Mapping[str, tuple[Floats, Mask]]) -> Iterator[tuple[str, Floats, Mask]]:
    """Yield each channel with its values and where it has any.

    Args:
        planes: (h, w) of `relative` and where they count: of "cells", of "pixels", and of each of `LINES`.
    """
    for name, channel in CHANNELS.items():
        ratios, is_judged = planes[name if channel.source == "lines" else channel.source]
        values = channel_map(ratios, is_judged, channel) if channel.source == "cells" else ratios
        yield name, values, np.asarray(values > 0, np.bool_)


def channel_map(ratios: Floats, is_judged: Mask, channel: Channel) -> Floats:
    """Average ratios in a window around each cell, over the cells that are judged.

    Args:
        ratios: (h, w) of `relative`.
        is_judged: (h, w).
        channel: whose source are cells.
    Returns:
        (h, w) float32; 0 where a cell is not judged, or too little of its window is.
    """
    if channel.angles_deg:
        return _greatest_of_lines(ratios, is_judged, channel)
    size_wh = channel.size_hw[::-1]
    summed = cv2.blur(ratios, size_wh, borderType=cv2.BORDER_CONSTANT)
    covered = cv2.blur(is_judged.astype(np.float32), size_wh, borderType=cv2.BORDER_CONSTANT)
    has_value = is_judged & (covered >= LEAST_COVERED)
    return np.asarray(np.where(has_value, summed / np.maximum(covered, LEAST_COVERED), 0), np.float32)


def _greatest_of_lines(ratios: Floats, is_judged: Mask, channel: Channel) -> Floats:
    """Return the greatest mean of the lines through each cell; what is not judged counts as usual."""
    height, width = ratios.shape
    beyond = (channel.size_hw[0] // 2,) * 2 + (channel.size_hw[1] // 2,) * 2
    filled = cv2.copyMakeBorder(
        np.where(is_judged, ratios, np.float32(1)), *beyond, borderType=cv2.BORDER_REFLECT_101
    )
    greatest = np.zeros_like(ratios)
    for cells in _lines(channel):
        total = np.zeros_like(ratios)
        for y, x in cells:
            total += filled[y : y + height, x : x + width]
        total *= np.float32(1 / len(cells))
        np.maximum(greatest, total, out=greatest)
    greatest[~is_judged] = 0
    return greatest


@lru_cache
def _lines(channel: Channel) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Return for each angle the cells of a line through the window, (y, x) each."""
    height, width = channel.size_hw
    centre = np.array([width // 2, height // 2])
    lines = []
    for angle in np.radians(channel.angles_deg):
        reach = centre * (np.cos(angle), np.sin(angle))
        plane = np.zeros((height, width), np.uint8)
        start, end = (tuple(np.rint(centre + sign * reach).astype(int).tolist()) for sign in (-1, 1))
        cv2.line(plane, start, end, [1])
        lines.append(tuple((int(y), int(x)) for y, x in np.argwhere(plane)))
    return tuple(lines)
