"""List the kinds of defect of woven cloth: the sizes of `edge.simulator.kinds`, other figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from edge.simulator.kinds import KINDS, Kind, Proportion, Site, round_spot
from edge.simulator.patch import Figure
from edge.simulator.woven.fold_figures import draw_crease, draw_wrinkle
from edge.simulator.woven.spot_figures import SLUB_PROPORTION, draw_hole, draw_nep, draw_stain
from edge.simulator.woven.thread_figures import (
    draw_broken_end,
    draw_broken_pick,
    draw_floats,
    draw_loose_yarn,
)

SLUB_FRACTION = 0.35
"""Fraction of neps that are slubs: thick places along a yarn."""

NEP_MM = (0.7, 3.6)
"""Neps are knots of entangled fibre: most in a cloth measure 0.5 to 2 mm, knots of yarn somewhat more."""

LEAST_NEP_PX = 4
FINE_NEP_PX = 8

SLUB_MM = (4.0, 16.0)
LEAST_SLUB_PX = 5


def _nep_or_slub(
    along_mm: float, across_mm: float, site: Site, rng: np.random.Generator
) -> tuple[float, float]:
    if rng.random() >= SLUB_FRACTION:
        return round_spot(along_mm, across_mm, site, rng)
    pitch_px = max(site.warp_pitch_px, site.weft_pitch_px)
    breadth_mm = max(rng.uniform(1.5, 2.5) * pitch_px, LEAST_SLUB_PX) * site.mm_per_px
    length_mm = max(float(np.exp(rng.uniform(*np.log(SLUB_MM)))), 1.2 * SLUB_PROPORTION * breadth_mm)
    return (length_mm, breadth_mm) if rng.random() < 0.5 else (breadth_mm, length_mm)


Draw = Callable[[tuple[int, int], Site, np.random.Generator], Figure]


def _kind(name: str, draw: Draw, proportion: Proportion | None = None) -> Kind:
    return replace(KINDS[name], draw=draw, proportion=proportion or KINDS[name].proportion)


WOVEN_KINDS: Mapping[str, Kind] = MappingProxyType({
    "broken end": _kind(
        "broken end",
        lambda size, site, rng: draw_broken_end(size, site.warp_pitch_px, site.weft_pitch_px, rng),
    ),
    "broken pick": _kind(
        "broken pick",
        lambda size, site, rng: draw_broken_pick(size, site.weft_pitch_px, site.warp_pitch_px, rng),
    ),
    "broken yarn": _kind(
        "broken yarn", lambda size, site, rng: draw_loose_yarn(size, site.warp_pitch_px, rng)
    ),
    "hole": _kind(
        "hole", lambda size, site, rng: draw_hole(size, site.warp_pitch_px, site.weft_pitch_px, rng)
    ),
    "crease": _kind("crease", lambda size, _, rng: draw_crease(size, rng)),
    "wrinkle": _kind("wrinkle", lambda size, _, rng: draw_wrinkle(size, rng)),
    "dropped stitch": _kind(
        "dropped stitch", lambda size, site, rng: draw_floats(size, site.warp_pitch_px, rng)
    ),
    "nep": replace(
        _kind("nep", lambda size, site, rng: draw_nep(size, site.warp_pitch_px, rng), _nep_or_slub),
        along_mm=NEP_MM, across_mm=NEP_MM, least_px=LEAST_NEP_PX, fine_px=FINE_NEP_PX,
    ),
    "stain": _kind(
        "stain", lambda size, site, rng: draw_stain(size, site.warp_pitch_px, site.weft_pitch_px, rng)
    ),
})  # fmt: skip
"""The same categories, in the same order."""
