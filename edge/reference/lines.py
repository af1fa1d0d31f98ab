"""Average features along lines: what differs a little, but along all of a yarn, adds up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.reference.contrast import Floats, Mask
from edge.reference.maps import LEAST_COVERED, Channel, relative
from edge.reference.statistics import Whitening

RUNG_CELLS = 4
"""Of a line, that are averaged first: means are wanted at every fourth cell along it."""


@dataclass(frozen=True, slots=True, eq=False)
class LineMeans:
    """Hold the mean features of lines.

    Attributes:
        vectors: (C, h, w) float32, at every `RUNG_CELLS`th cell along the line.
        has_value: (h, w) bool, where enough of the line is judged.
        axis: 0 for lines along the warp, 1 along the weft.
        is_judged: (H, W) bool, of the cells.
    """

    vectors: Floats
    has_value: Mask
    axis: int
    is_judged: Mask

    @classmethod
    def of(cls, vectors: Floats, is_judged: Mask, channel: Channel) -> LineMeans:
        """Average the features of cells.

        Args:
            vectors: (C, H, W) of the cells.
            is_judged: (H, W).
            channel: whose window is a line. Where less cloth than its length is in view, it is shorter.
        """
        axis = int(np.argmax(channel.size_hw))
        in_view = int(np.count_nonzero(is_judged.any(axis=1 - axis)))
        rungs = max(1, round(min(channel.size_hw[axis], in_view) / RUNG_CELLS))
        counts = _summed(is_judged[None].astype(np.float32), is_judged, axis)
        covered = _in_windows(counts, axis, rungs)[0]
        least = LEAST_COVERED * min(rungs * RUNG_CELLS, in_view)
        has_value = (counts[0] > 0) & (covered >= least)
        means = _in_windows(_summed(vectors, is_judged, axis), axis, rungs)
        means *= np.reciprocal(np.maximum(covered, 1), dtype=np.float32)
        return cls(means, has_value, axis, is_judged)

    def ratios(self, whitening: Whitening) -> tuple[Floats, Mask]:
        """Return the distances of the lines over what is usual, and where there are any, by cells."""
        distances, has_value = self._by_cells(whitening.distances(self.vectors))
        return (relative(distances, has_value) if has_value.any() else distances), has_value

    def _by_cells(self, values: Floats) -> tuple[Floats, Mask]:
        """Return values of the lines for the cells that they go through, and which cells have one."""
        height, width = self.is_judged.shape
        whole = np.repeat(values, RUNG_CELLS, axis=self.axis)[:height, :width]
        has_value = np.repeat(self.has_value, RUNG_CELLS, axis=self.axis)[:height, :width] & self.is_judged
        return whole, np.asarray(has_value, np.bool_)


def _summed(planes: Floats, is_judged: Mask, axis: int) -> Floats:
    """Sum up the judged cells of every `RUNG_CELLS` along each line with any: (C, H, W) -> (C, h, w)."""
    missing = -is_judged.shape[axis] % RUNG_CELLS
    if missing:
        beyond = [(0, missing if side == axis else 0) for side in (0, 1)]
        planes, is_judged = np.pad(planes, [(0, 0), *beyond]), np.pad(is_judged, beyond)
    every = _rungs(planes, axis)
    summed: Floats = every[0] + every[1]
    for part in every[2:]:
        summed += part
    _sum_up_again(summed, planes, is_judged, axis)
    return summed


def _rungs(planes: NDArray[Any], axis: int) -> list[NDArray[Any]]:
    """Return the first cell of each rung, the second and so on: (..., H, W), without copying."""
    cells = [slice(first, None, RUNG_CELLS) for first in range(RUNG_CELLS)]
    return [planes[..., one, :] if axis == 0 else planes[..., one] for one in cells]


def _sum_up_again(summed: Floats, planes: Floats, is_judged: Mask, axis: int) -> None:
    """Replace the sums of rungs with cells that are not judged: few where the cloth is a rectangle."""
    rungs = _rungs(np.arange(is_judged.size).reshape(is_judged.shape), axis)
    is_part = np.any([~is_judged.ravel()[cells] for cells in rungs], axis=0)
    places = np.flatnonzero(is_part & is_judged.any(axis=axis, keepdims=True))
    flat, judged = planes.reshape(len(planes), -1), is_judged.ravel()
    total = np.zeros((len(planes), len(places)), np.float32)
    for cells in rungs:
        of_places = cells.ravel()[places]
        total += flat.take(of_places, axis=1) * judged[of_places]
    summed.reshape(len(summed), -1)[:, places] = total


def _in_windows(planes: Floats, axis: int, cells: int) -> Floats:
    """Sum up within a window along the lines, around each place: (C, h, w) -> (C, h, w)."""
    size_wh = (1, cells) if axis == 0 else (cells, 1)
    sums = np.empty_like(planes)
    for plane, out in zip(planes, sums, strict=True):
        cv2.boxFilter(plane, -1, size_wh, dst=out, normalize=False, borderType=cv2.BORDER_CONSTANT)
    return sums
