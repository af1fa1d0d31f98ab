"""Average features along lines: what differs a little, but along all of a yarn, adds up."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

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
        counts = _summed(is_judged[None].astype(np.float32), axis)[0]
        size_wh = (1, rungs) if axis == 0 else (rungs, 1)
        covered = _in_window(counts, size_wh)
        has_value = (counts > 0) & (covered >= LEAST_COVERED * rungs * RUNG_CELLS)
        judged = vectors if is_judged.all() else vectors * is_judged
        scale = np.reciprocal(np.maximum(covered, 1), dtype=np.float32)
        means = np.stack([_in_window(plane, size_wh) * scale for plane in _summed(judged, axis)])
        return cls(np.asarray(means, np.float32), has_value, axis, is_judged)

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


def _summed(planes: Floats, axis: int) -> Floats:
    """Sum up every `RUNG_CELLS` cells along a line: (C, H, W) -> (C, h, w)."""
    missing = -planes.shape[1 + axis] % RUNG_CELLS
    if missing:
        planes = np.pad(planes, [(0, 0), *((0, missing if side == axis else 0) for side in (0, 1))])
    every = [
        np.s_[:, first::RUNG_CELLS] if axis == 0 else np.s_[:, :, first::RUNG_CELLS]
        for first in range(RUNG_CELLS)
    ]
    summed = planes[every[0]] + planes[every[1]]
    for part in every[2:]:
        summed += planes[part]
    return summed


def _in_window(plane: Floats, size_wh: tuple[int, int]) -> Floats:
    return np.asarray(
        cv2.boxFilter(plane, -1, size_wh, normalize=False, borderType=cv2.BORDER_CONSTANT), np.float32
    )
