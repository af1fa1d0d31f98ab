"""Find the joint between two pieces of cloth that were sewn together: there the next roll begins.

A joint is a band across the whole width, some millimetres high, in which stitches and a fold take the
place of the weave. It is told from the weave by two numbers for each millimetre along the roll and each
part of the width: how bright the cloth is, and how much it changes from pixel to pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras.protocol import FramePosition
from edge.core.image import Image

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

BIN_MM = 1.0
"""Lines are looked at together over about this length."""

PARTS = 16
"""Parts of the width."""

LEAST_MM, MOST_MM = 2.5, 25.0
"""Height of a joint in each part that shows it."""

LEAST_MIDDLE_MM = 4.5
"""Least height in half of the parts. A broken pick is lower: its neighbours close up to three yarns; a
crease or wrinkle is mostly higher, and does not cross all parts at one place."""

SKEW_MM = 8.0
"""A joint is sewn askew: so far it may lie apart from one side to the other."""

BAND_FRACTION = 0.2
"""Where so many parts are abnormal a band begins and ends; a joint that is askew is in few at its ends."""

FRACTION = 0.85
"""Least fraction of the parts that show it."""

CALM_MM = 3.0
"""Between light and shade of a fold the cloth looks as it should for so long."""

DEVIATIONS = 3.5
"""So many deviations from the cloth before is abnormal. Measured in docs/benchmarks/joints.md."""

LEAST_STEP = 0.06
"""Deviations are taken to be at least this fraction of the value: a very even cloth has next to none."""

LAG_MM = 5.0
"""So far behind a joint the next roll begins: by then it is known that the joint has ended."""

BASELINE_BINS = 200
"""The cloth before: the median of so many millimetres."""

LEARNT_BINS = 60
"""No joint is looked for before so many were seen."""

GROUND_FRACTION = 0.35
"""A part with less texture than this fraction of the middle one shows the machine, not cloth."""


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Brightness and texture of rows, or of bins of rows: (N, PARTS) float32 each."""

    brightness: Floats
    texture: Floats

    def __len__(self) -> int:
        return len(self.brightness)

    def __getitem__(self, rows: slice) -> _Rows:
        return _Rows(self.brightness[rows], self.texture[rows])

    def and_then(self, other: _Rows) -> _Rows:
        return _Rows(
            np.concatenate([self.brightness, other.brightness]),
            np.concatenate([self.texture, other.texture]),
        )

    def binned(self, lines: int) -> _Rows:
        return _Rows(_means(self.brightness, lines), _means(self.texture, lines))


class JointFinder:
    """Look for joints in strips of cloth, in the order of the roll.

    Args:
        apart_m: least distance from one joint to the next.
    """

    def __init__(self, apart_m: float = 5.0) -> None:
        self._apart_m = apart_m
        self._bin_lines = 1
        self._reached: int | None = None
        self._last_m: float | None = None
        self.start_again()

    def start_again(self) -> None:
        """Forget what the cloth looked like: other cloth follows."""
        empty = np.zeros((0, PARTS), np.float32)
        self._rest = self._bins = _Rows(empty, empty)
        self._waited = 0

    def interrupt(self) -> None:
        """Note that no cloth was looked at here: what comes does not follow on."""
        self._rest = self._rest[:0]
        self._reached = None

    def look(self, image: Image, position: FramePosition) -> int | None:
        """Take in a strip with cloth on all lines.

        Args:
            image: (H, W) grey or (H, W, 3) BGR, uint8.
            position: of the strip. Cloth that passes again is not looked at again.
        Returns:
            Row at which the next roll begins, some millimetres behind a joint, from 1 to H; None if no
            joint has ended here.
        """
        first, mm = position.first_line, position.mm_per_px_along
        if self._reached is not None and first < self._reached:
            return None
        if first != self._reached:
            self._rest = self._rest[:0]
        self._reached = first + len(image)
        self._bin_lines = max(1, round(BIN_MM / mm))
        before = len(self._rest)
        rows = self._rest.and_then(_measured(image, position))
        count = len(rows) // self._bin_lines
        self._rest = rows[count * self._bin_lines :]
        fresh = rows[: count * self._bin_lines].binned(self._bin_lines)
        at = self._found(fresh, mm * self._bin_lines)
        self._bins = self._bins.and_then(fresh)[-BASELINE_BINS:]
        self._waited = min(self._waited + count, LEARNT_BINS)
        if at is None:
            return None
        row = at * self._bin_lines - before
        at_m = position.along_m + row * mm / 1000
        if self._last_m is not None and at_m - self._last_m < self._apart_m:
            return None
        self._last_m = at_m
        return row

    def _found(self, fresh: _Rows, bin_mm: float) -> int | None:
        """Return behind how many of the fresh bins the next roll begins; None if no joint is complete."""
        if self._waited < LEARNT_BINS or not len(fresh):
            return None
        lag, most = round(LAG_MM / bin_mm), round((MOST_MM + SKEW_MM) / bin_mm)
        known = self._bins
        ground = np.median(known.texture, axis=0)
        is_cloth = ground >= GROUND_FRACTION * np.median(ground)
        tail = known[-(most + lag + 2) :].and_then(fresh)
        texture = _abnormal(tail.texture, known.texture)[:, is_cloth]
        either = texture | _abnormal(tail.brightness, known.brightness)[:, is_cloth]
        either = _closed(either, round(CALM_MM / bin_mm / 2))
        band = either.mean(axis=1) >= BAND_FRACTION
        for start, end in _runs(band):
            done = end + lag
            is_fresh = len(tail) - len(fresh) < done <= len(tail)
            if is_fresh and start > 0 and _is_joint(either[start:end], bin_mm):
                return done - (len(tail) - len(fresh))
        return None


def _is_joint(abnormal: Flags, bin_mm: float) -> bool:
    """Tell whether abnormal bins are a joint: (N, parts), from the first to the last of a band."""
    if len(abnormal) * bin_mm > MOST_MM + SKEW_MM:
        return False
    heights_mm = abnormal.sum(axis=0) * bin_mm
    fits = (heights_mm >= LEAST_MM) & (heights_mm <= MOST_MM)
    return bool(fits.mean() >= FRACTION and np.median(heights_mm) >= LEAST_MIDDLE_MM)


def _measured(image: Image, position: FramePosition) -> _Rows:
    """Measure each row of a strip, between the selvedges where these are known."""
    width = image.shape[1]
    left = max(0, round(position.left_selvedge_px or 0))
    right = width if position.right_selvedge_px is None else min(width, round(position.right_selvedge_px))
    cloth = image[::2, left:right]
    grey = cloth if cloth.ndim == 2 else np.asarray(cv2.cvtColor(cloth, cv2.COLOR_BGR2GRAY), np.uint8)
    steps = np.asarray(cv2.absdiff(grey[:, 1:], grey[:, :-1]), np.uint8)
    return _Rows(_by_part(grey, len(image)), _by_part(steps, len(image)))


def _by_part(rows: Image, count: int) -> Floats:
    """Average each part of the width; every second row is measured and stands for two."""
    edges = np.linspace(0, rows.shape[1], PARTS + 1).astype(int)
    parts = [
        cv2.reduce(rows[:, left:right], 1, cv2.REDUCE_AVG, dtype=cv2.CV_32F)
        for left, right in pairwise(edges)
    ]
    return np.asarray(np.repeat(np.concatenate(parts, axis=1), 2, axis=0)[:count], np.float32)


def _means(rows: Floats, lines: int) -> Floats:
    return np.asarray(rows.reshape(-1, lines, PARTS).mean(axis=1), np.float32)


def _abnormal(values: Floats, known: Floats) -> Flags:
    """Tell which values lie far from the median of those that are known, part by part."""
    middle = np.median(known, axis=0)
    deviation = 1.4826 * np.median(np.abs(known - middle), axis=0)
    least = LEAST_STEP / DEVIATIONS * np.maximum(middle, 1.0)
    return np.asarray(np.abs(values - middle) > DEVIATIONS * np.maximum(deviation, least), np.bool_)


def _closed(flags: Flags, gap: int) -> Flags:
    """Fill holes of up to twice so many bins, part by part."""
    kernel = np.ones((2 * gap + 1, 1), np.uint8)
    closed = cv2.morphologyEx(flags.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    return np.asarray(closed > 0, np.bool_)


def _runs(flags: Flags) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
