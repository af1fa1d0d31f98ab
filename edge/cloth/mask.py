"""Mask where in an image is cloth, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cloth.grain import CELL_PX, Floats
from edge.core.detections import Detections

Mask = NDArray[np.bool_]

LEAST_ON_CLOTH = 0.5
"""A detection with less of its box on cloth, without the margin along its edge, is left out. A cut end and
the shadow beside it look like a wrinkle all across the cloth."""


@dataclass(frozen=True, slots=True, eq=False)
class ClothMask:
    """Say of each cell of an image whether it shows cloth.

    Attributes:
        cells: (ceil(H / 8), ceil(W / 8)) bool.
        size_hw_px: of the image.
    """

    cells: Mask
    size_hw_px: tuple[int, int]

    @property
    def fraction(self) -> float:
        """Fraction of the cells that show cloth, 0 to 1."""
        return float(self.cells.mean())

    def lines(self) -> Mask:
        """Tell of each line of the image whether any cloth lies on it: (H,) bool."""
        return np.repeat(self.cells.any(axis=1), CELL_PX)[: self.size_hw_px[0]]

    def columns(self) -> tuple[float, float]:
        """Return the first and last-plus-one column of the cloth: the mean over the lines that show any."""
        rows = self.cells[self.cells.any(axis=1)]
        if not len(rows):
            return 0.0, 0.0
        ends_px = (rows.shape[1] - rows[:, ::-1].argmax(axis=1)) * CELL_PX
        return float(rows.argmax(axis=1).mean()) * CELL_PX, float(
            np.minimum(ends_px, self.size_hw_px[1]).mean()
        )

    def without_edge(self, margin_px: float) -> ClothMask:
        """Return the cloth that lies further than this from its edge; the image's own edge is none."""
        cells = round(margin_px / CELL_PX)
        if not cells or self.cells.all():
            return self
        around = np.ones((2 * cells + 1, 2 * cells + 1), np.uint8)
        inner = cv2.erode(self.cells.astype(np.uint8), around)  # what lies beyond the image counts as cloth
        return ClothMask(np.asarray(inner > 0, np.bool_), self.size_hw_px)

    def fraction_in(self, boxes_xyxy_px: Floats) -> Floats:
        """Measure how much of each box lies on cloth.

        Args:
            boxes_xyxy_px: (N, 4), pixels of the image; what lies outside of it does not count.
        Returns:
            (N,) float32 in [0, 1]; 1 for a box without area in the image: nothing speaks against it.
        """
        height, width = self.size_hw_px
        left, top, right, bottom = np.asarray(boxes_xyxy_px, np.float64).reshape(-1, 4).T
        left, right = np.clip((left, right), 0, width)
        top, bottom = np.clip((top, bottom), 0, height)
        area_px = (right - left) * (bottom - top)
        cloth_px = (
            self._cloth_px(right, bottom)
            - self._cloth_px(left, bottom)
            - self._cloth_px(right, top)
            + self._cloth_px(left, top)
        )
        fractions = np.divide(cloth_px, area_px, out=np.ones_like(area_px), where=area_px > 0)
        return np.asarray(np.clip(fractions, 0, 1), np.float32)

    def _cloth_px(
        self, right_px: NDArray[np.float64], below_px: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Measure the cloth above and left of points: a sum over cells, linear within each."""
        sums = cv2.integral(self.cells.astype(np.uint8)).astype(np.float64)
        rows, columns = below_px / CELL_PX, right_px / CELL_PX
        row = np.clip(rows.astype(np.int64), 0, self.cells.shape[0] - 1)
        column = np.clip(columns.astype(np.int64), 0, self.cells.shape[1] - 1)
        down, along = rows - row, columns - column
        upper = sums[row, column] * (1 - along) + sums[row, column + 1] * along
        lower = sums[row + 1, column] * (1 - along) + sums[row + 1, column + 1] * along
        return np.asarray((upper * (1 - down) + lower * down) * CELL_PX**2, np.float64)


def within(found: Detections, mask: ClothMask | None, margin_px: float) -> Detections:
    """Leave out detections that lie mostly off the cloth, or along its edge.

    Args:
        found: boxes in pixels of the image that the mask is of.
        mask: None where all is cloth.
        margin_px: width of the edge.
    """
    if mask is None or not len(found):
        return found
    inner = mask.without_edge(margin_px) if margin_px else mask
    return found.take(inner.fraction_in(found.boxes_xyxy_px) >= LEAST_ON_CLOTH)
