"""List the kinds of defect that a loom can plant: how large each is, and which function draws it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge.simulator.fold_figures import draw_crease, draw_wrinkle
from edge.simulator.ground_truth import Difficulty, PlantedDefect
from edge.simulator.patch import CONTRAST_RANGES, Figure
from edge.simulator.spot_figures import draw_hole, draw_nep, draw_stain
from edge.simulator.yarn_figures import (
    NARROW,
    draw_broken_end,
    draw_broken_pick,
    draw_broken_yarn,
    draw_dropped_stitch,
)

FIGURE_STREAM = 5
"""Keeps the random numbers of a defect's form apart from those of style, texture and plan."""

SIZE_FACTORS: dict[Difficulty, float] = {
    "obvious": 1.25,
    "clear": 1.0,
    "subtle": 0.9,
    "barely visible": 0.75,
}
"""Size of a defect over that of a clear one."""

GAP_YARNS = (1.2, 5.0)
"""Breadth of one to three missing yarns with the neighbours they push aside, in yarn pitches."""

LEAST_GAP_PX = 7
LONGEST_MM = 3000.0
SHORTEST_END_MM = 20.0
MOST_PX = 1500
"""Most pixels, each way, of a defect that is no line: bounds time and memory at very fine scales."""

WHOLE_WIDTH_FRACTION = 0.3
"""Fraction of broken picks that run from selvedge to selvedge."""

SHORT_PICK_FRACTION = 0.25
SHORT_PICK_MM = (4.0, 30.0)
"""Fraction and length of broken picks that are only cut, as beside a selvedge."""

LYING_FRACTION = 0.5
"""Fraction of broken yarns whose loose end lies along the yarns in place of wandering."""

LYING_MM = (10.0, 120.0)
LYING_BREADTH_MM = (1.6, 6.0)


@dataclass(frozen=True, slots=True)
class Site:
    """Describe the cloth a defect is to be fitted into.

    Attributes:
        mm_per_px: millimetres per pixel, both ways.
        warp_pitch_px: distance between warp yarns.
        weft_pitch_px: distance between weft yarns.
        breadth_mm: room across the cloth, between the selvedges.
    """

    mm_per_px: float
    warp_pitch_px: float
    weft_pitch_px: float
    breadth_mm: float


Proportion = Callable[[float, float, Site, np.random.Generator], tuple[float, float]]
"""Gives a size the proportions of a kind: millimetres along the roll and across it, before and after."""


def _between(low_high: tuple[float, float], rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(low_high))))


def _as_drawn(
    along_mm: float, across_mm: float, site: Site, rng: np.random.Generator
) -> tuple[float, float]:
    most_mm = MOST_PX * site.mm_per_px
    return min(along_mm, most_mm), min(across_mm, most_mm)


def _long(along_mm: float, across_mm: float, site: Site, rng: np.random.Generator) -> tuple[float, float]:
    return max(along_mm, SHORTEST_END_MM), across_mm


def _whole_or_short(
    along_mm: float, across_mm: float, site: Site, rng: np.random.Generator
) -> tuple[float, float]:
    chance = rng.random()
    if chance < SHORT_PICK_FRACTION:
        return along_mm, max(_between(SHORT_PICK_MM, rng), 2.5 * along_mm)
    return along_mm, site.breadth_mm if chance > 1 - WHOLE_WIDTH_FRACTION else across_mm


def _often_lying(
    along_mm: float, across_mm: float, site: Site, rng: np.random.Generator
) -> tuple[float, float]:
    if rng.random() >= LYING_FRACTION:
        return _as_drawn(along_mm, across_mm, site, rng)
    length_mm, breadth_mm = _between(LYING_MM, rng), _between(LYING_BREADTH_MM, rng)
    length_mm = max(length_mm, 1.2 * NARROW * breadth_mm)
    return (breadth_mm, length_mm) if rng.random() < 0.3 else (length_mm, breadth_mm)


def round_spot(
    along_mm: float, across_mm: float, site: Site, rng: np.random.Generator
) -> tuple[float, float]:
    along_mm, across_mm = _as_drawn(along_mm, across_mm, site, rng)
    return along_mm, float(np.clip(across_mm, 0.6 * along_mm, 1.6 * along_mm))


def _sometimes_turned(
    along_mm: float, across_mm: float, site: Site, rng: np.random.Generator
) -> tuple[float, float]:
    along_mm, across_mm = _as_drawn(along_mm, across_mm, site, rng)
    return (across_mm, along_mm) if rng.random() < 0.4 else (along_mm, across_mm)


@dataclass(frozen=True, slots=True)
class Kind:
    """Say how a category of defect is made.

    Attributes:
        salience: how strong it need be, against a small spot: what is long or broad shows sooner.
        weight: how often it is planted, against the other kinds.
        along_mm: least and greatest length along the roll; (0, 0) where the pitch decides.
        across_mm: least and greatest breadth; (0, 0) where the pitch decides.
        least_px: below this neither side goes.
        draw: makes the figure from lines and columns, the site and a random generator.
        proportion: makes of a length and a breadth those of the kind.
        fine_px: one that is smaller is weaker in proportion; 0 for none. Its strength counts blurred over a
            yarn, where a dark speck of a few pixels all but vanishes.
    """

    salience: float
    weight: float
    along_mm: tuple[float, float]
    across_mm: tuple[float, float]
    least_px: int
    draw: Callable[[tuple[int, int], Site, np.random.Generator], Figure]
    proportion: Proportion = _as_drawn
    fine_px: int = 0


KINDS: dict[str, Kind] = {
    "broken end": Kind(
        0.85, 1.2, (20, 2500), (0, 0), LEAST_GAP_PX,
        lambda size, site, rng: draw_broken_end(size, site.weft_pitch_px, rng), _long,
    ),
    "broken pick": Kind(
        0.75, 1.2, (0, 0), (70, 4000), LEAST_GAP_PX,
        lambda size, site, rng: draw_broken_pick(size, site.warp_pitch_px, rng), _whole_or_short,
    ),
    "broken yarn": Kind(
        0.9, 1.6, (8, 36), (8, 30), 30,
        lambda size, site, rng: draw_broken_yarn(size, site.warp_pitch_px, rng), _often_lying,
    ),
    "hole": Kind(1.2, 0.8, (3.2, 12), (3.2, 12), 16, lambda size, _, rng: draw_hole(size, rng), round_spot),
    "crease": Kind(0.8, 1.6, (18, 110), (18, 80), 60, lambda size, _, rng: draw_crease(size, rng)),
    "wrinkle": Kind(0.8, 1.6, (24, 80), (24, 80), 90, lambda size, _, rng: draw_wrinkle(size, rng)),
    "dropped stitch": Kind(
        1.5, 1.2, (2.4, 12), (2.4, 4), 12,
        lambda size, _, rng: draw_dropped_stitch(size, rng), _sometimes_turned,
    ),
    "nep": Kind(
        1.15, 1.0, (2.2, 4.0), (2.2, 4.0), 11, lambda size, _, rng: draw_nep(size, rng), round_spot,
    ),
    "stain": Kind(0.9, 1.2, (5, 22), (5, 22), 20, lambda size, _, rng: draw_stain(size, rng), round_spot),
}  # fmt: skip
"""Every category of the taxonomy that can be planted. Sizes in millimetres are those of a clear defect."""


def draw_size_mm(
    kind: Kind, difficulty: Difficulty, site: Site, rng: np.random.Generator
) -> tuple[float, float]:
    """Draw how long and how broad a defect of a kind is, in whole pixels.

    Returns:
        Millimetres along the roll and across it.
    """
    factor = SIZE_FACTORS[difficulty]
    sides_mm = []
    for (low, high), pitch_px in (
        (kind.along_mm, site.weft_pitch_px),
        (kind.across_mm, site.warp_pitch_px),
    ):
        if high == 0:
            side_mm = _between(GAP_YARNS, rng) * pitch_px * site.mm_per_px
        else:
            side_mm = factor * _between((low, high), rng)
        sides_mm.append(max(side_mm, kind.least_px * site.mm_per_px))
    along_mm, across_mm = kind.proportion(sides_mm[0], sides_mm[1], site, rng)
    along_mm, across_mm = min(along_mm, LONGEST_MM), min(across_mm, site.breadth_mm)
    along_px, across_px = (max(1, round(side / site.mm_per_px)) for side in (along_mm, across_mm))
    return along_px * site.mm_per_px, across_px * site.mm_per_px


def draw_figure(kind: Kind, planted: PlantedDefect, seed: int, site: Site) -> tuple[Figure, float]:
    """Draw a defect of a kind from the seed and its number.

    Returns:
        Its form, and how strong it is in deviations of the cloth.
    """
    rng = np.random.default_rng([seed, FIGURE_STREAM, planted.defect_id])
    (start_m, end_m), (left_mm, right_mm) = planted.along_m, planted.across_mm
    lines = round((end_m - start_m) * (1000.0 / site.mm_per_px))
    columns = round((right_mm - left_mm) / site.mm_per_px)
    figure = kind.draw((lines, columns), site, rng)
    strength = kind.salience * rng.uniform(*CONTRAST_RANGES[planted.difficulty])
    return figure, strength * min(1.0, min(lines, columns) / kind.fine_px) if kind.fine_px else strength
