"""Hold the ground truth of a planted defect: where on the roll it lies, and which pixels it changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Difficulty = Literal["obvious", "clear", "subtle", "barely visible"]

DIFFICULTIES: tuple[Difficulty, ...] = ("obvious", "clear", "subtle", "barely visible")
"""From the easiest to the hardest. Only the last may be missed by a careful person."""

Mask = NDArray[np.uint8]
"""(H, W) uint8, 1 where the defect changed the cloth and 0 elsewhere."""

BoxPx = tuple[int, int, int, int]
"""(x1, y1, x2, y2) pixels, x2 and y2 exclusive."""


@dataclass(frozen=True, slots=True)
class PlantedDefect:
    """Say what was planted and where on the roll.

    The rectangle is the one the defect was drawn into; its pixels fill it up to a few pixels.

    Attributes:
        defect_id: unique on the roll, grows with the panel of the roll it lies in.
        category: the kind's category in the taxonomy, for instance ``broken end``.
        class_name: the class a detector reports it as, for instance ``broken``.
        difficulty: how hard it is to see.
        along_m: (start, end) metres from the start of the roll.
        across_mm: (left, right) millimetres from the left selvedge.
    """

    defect_id: int
    category: str
    class_name: str
    difficulty: Difficulty
    along_m: tuple[float, float]
    across_mm: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class SeenDefect:
    """Say which pixels of one image a planted defect changed.

    Attributes:
        defect_id: as in `PlantedDefect`.
        category: as in `PlantedDefect`.
        class_name: as in `PlantedDefect`.
        difficulty: as in `PlantedDefect`.
        box_xyxy_px: tight box of the mask, image pixels, clipped to the image.
        mask: uint8 of the size of the box, 1 where the defect changed the cloth.
    """

    defect_id: int
    category: str
    class_name: str
    difficulty: Difficulty
    box_xyxy_px: BoxPx
    mask: Mask


def tight_box(mask: Mask) -> BoxPx | None:
    """Return the smallest box (x1, y1, x2, y2) around the pixels that are not 0; None if all are."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
