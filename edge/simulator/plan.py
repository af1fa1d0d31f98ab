"""Plan where on the endless roll each defect lies: a function of the seed and the place alone.

The roll is cut into panels. Each panel is planned from its own random numbers and keeps its defects
to itself, so that any place on the roll is known without having woven what comes before it.
"""

from __future__ import annotations

import math

import numpy as np

from edge.core.taxonomy import Taxonomy
from edge.simulator.ground_truth import Difficulty, PlantedDefect
from edge.simulator.kinds import KINDS, Site, draw_size_mm
from edge.simulator.looks import KINDS_OF
from edge.simulator.options import LoomOptions

PLAN_STREAM = 4
PANEL_M = 4.0
"""Has to exceed the longest defect, `kinds.LONGEST_MM`, as none reaches from one panel into the next."""

APART_MM = 30.0
"""Least clear cloth between two defects, along or across: keeps matching unambiguous."""

HEADER_MM = 10.0
"""Clean cloth at both ends of a panel, and so at the start of the roll."""

DEFECTS_PER_PANEL = 10_000
"""Defect ids step by this from panel to panel."""

TRIES = 12


def panel_at(along_m: float) -> int:
    """Return the number of the panel that a place on the roll lies in."""
    return math.floor(along_m / PANEL_M)


def plan_panel(
    options: LoomOptions,
    taxonomy: Taxonomy,
    ground_mm: tuple[float, float],
    site: Site,
    panel: int,
) -> tuple[PlantedDefect, ...]:
    """Plan the defects of one panel, in the order of their start.

    Args:
        options: seed, density, kinds and difficulties.
        taxonomy: gives each category its class.
        ground_mm: left and right end of the room for defects, millimetres from the left selvedge.
        site: pitches and scale of the cloth.
        panel: number of the panel; none has defects before the start of the roll.
    """
    if panel < 0 or options.defects_per_m == 0:
        return ()
    rng = np.random.default_rng([options.seed, PLAN_STREAM, panel])
    placed: list[tuple[float, float, float, float, str, Difficulty]] = []
    for _ in range(int(rng.poisson(options.defects_per_m * PANEL_M))):
        category, difficulty = _draw_kind(options, rng)
        size_mm = draw_size_mm(KINDS_OF[options.look][category], difficulty, site, rng)
        for _ in range(TRIES):
            box = _draw_box(size_mm, ground_mm, site.mm_per_px, rng)
            if all(_apart_mm(box, other[:4]) >= APART_MM for other in placed):
                placed.append((*box, category, difficulty))
                break
    start_mm = panel * PANEL_M * 1000.0
    return tuple(
        PlantedDefect(
            defect_id=panel * DEFECTS_PER_PANEL + number,
            category=category,
            class_name=taxonomy.class_of(category),
            difficulty=difficulty,
            along_m=((start_mm + top) / 1000.0, (start_mm + bottom) / 1000.0),
            across_mm=(left, right),
        )
        for number, (left, top, right, bottom, category, difficulty) in enumerate(
            sorted(placed, key=lambda item: item[1])
        )
        if options.length_m is None or (start_mm + bottom) / 1000.0 <= options.length_m
    )


def _draw_kind(options: LoomOptions, rng: np.random.Generator) -> tuple[str, Difficulty]:
    """Draw a category by its weight and a difficulty evenly."""
    weights = np.array([KINDS[category].weight for category in options.categories])
    category = options.categories[int(rng.choice(len(weights), p=weights / weights.sum()))]
    return category, options.difficulties[int(rng.integers(len(options.difficulties)))]


def _draw_box(
    size_mm: tuple[float, float],
    ground_mm: tuple[float, float],
    mm_per_px: float,
    rng: np.random.Generator,
) -> tuple[float, float, float, float]:
    """Draw a place in the panel on whole pixels: left, top, right, bottom in millimetres."""
    along_mm, across_mm = size_mm
    left = ground_mm[0] + rng.random() * max(0.0, ground_mm[1] - ground_mm[0] - across_mm)
    top = HEADER_MM + rng.random() * (PANEL_M * 1000.0 - 2 * HEADER_MM - APART_MM - along_mm)
    left, top = round(left / mm_per_px) * mm_per_px, round(top / mm_per_px) * mm_per_px
    return left, top, left + across_mm, top + along_mm


def _apart_mm(box: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    """Return the greater of the gaps along and across between two boxes; negative if they overlap."""
    across = max(box[0] - other[2], other[0] - box[2])
    along = max(box[1] - other[3], other[1] - box[3])
    return max(across, along)
