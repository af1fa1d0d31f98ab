"""A contact sheet of the defects of the simulated loom: a row per kind, a column per difficulty."""

from __future__ import annotations

import numpy as np
from canvas import below, beside, boxed, captioned

from edge.core.image import Image
from edge.simulator.ground_truth import DIFFICULTIES, Difficulty, PlantedDefect
from edge.simulator.loom import Loom
from edge.simulator.options import CATEGORIES, Look, LoomOptions

CELL_HW = (128, 300)
FIRST_SEED = 40


def draw_kinds(look: Look = "drawn") -> Image:
    """Draw every kind at every difficulty, the same cloth in each row."""
    rows = []
    for number, category in enumerate(CATEGORIES):
        cells = [
            captioned(draw_cell(category, grade, FIRST_SEED + number, look), [f"{category}, {grade}"])
            for grade in DIFFICULTIES
        ]
        rows.append(beside(cells))
    return below(rows, gap_px=0)


def draw_cell(category: str, difficulty: Difficulty, seed: int, look: Look = "drawn") -> Image:
    """Draw one defect in the middle of a piece of cloth, with a thin box around it."""
    options = LoomOptions(
        seed=seed, width_px=1024, bed_left_mm=-20, bed_right_mm=-20, defects_per_m=4,
        difficulties=(difficulty,), categories=(category,), mean_grey=140, weave="plain", look=look,
    )  # fmt: skip
    loom = Loom(options)
    planted = min(loom.planted_up_to(20), key=lambda item: _misfit(item, options))
    height, width = CELL_HW
    along_px = round(sum(planted.along_m) / 2 * 1000 / options.mm_per_px)
    across_px = round(sum(planted.across_mm) / 2 / options.mm_per_px) + options.left_selvedge_px
    first_line = max(0, along_px - height // 2)
    left = int(np.clip(across_px - width // 2, 0, options.width_px - width))
    image = loom.render(first_line, height)[:, left : left + width]
    seen = next(
        item for item in loom.seen_defects(first_line, height) if item.defect_id == planted.defect_id
    )
    x1, y1, x2, y2 = seen.box_xyxy_px
    return boxed(image, (x1 - left, y1, x2 - left, y2), reach_px=4)


def _misfit(planted: PlantedDefect, options: LoomOptions) -> float:
    """Rank defects by how well they fill a cell without leaving it: 0 is best."""
    along_px = (planted.along_m[1] - planted.along_m[0]) * 1000 / options.mm_per_px
    across_px = (planted.across_mm[1] - planted.across_mm[0]) / options.mm_per_px
    height, width = CELL_HW
    too_large = max(0.0, along_px - 0.8 * height) + max(0.0, across_px - 0.8 * width)
    return too_large + abs(max(along_px, across_px) - 70) / 1000
