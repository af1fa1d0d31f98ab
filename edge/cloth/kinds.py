"""Find the kind of a defect from its class, its extent and what the image shows: geometry, no network.

A kind is a category of the taxonomy. Where class, extent and image do not decide it is None: a wrong kind
is worse than none. How often the rules are right: docs/benchmarks/kinds.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from edge.cloth.appearance import measure_appearance
from edge.cloth.defects import ClothDefect
from edge.core.appearance import Appearance
from edge.core.detections import Detections
from edge.core.image import Image

MOST_LOOKED_AT: Final = 64
"""Defects of one strip that are looked at, the surest first: bounds time on cloth in tatters."""


class Evidence(NamedTuple):
    """Hold what a kind is found from.

    Attributes:
        length_mm: of the box along the warp.
        breadth_mm: across, along the weft.
        seen: what the image shows in it.
    """

    length_mm: float
    breadth_mm: float
    seen: Appearance

    @property
    def longer_mm(self) -> float:
        """The longer side."""
        return max(self.length_mm, self.breadth_mm)

    @property
    def shorter_mm(self) -> float:
        """The shorter side."""
        return min(self.length_mm, self.breadth_mm)

    @property
    def runs_along(self) -> bool:
        """Whether it is longer along the warp than across."""
        return self.length_mm >= self.breadth_mm

    @property
    def straight(self) -> float:
        """How much of it lies in one line the way it runs."""
        return self.seen.straight_along if self.runs_along else self.seen.straight_across

    @property
    def in_one_place(self) -> float:
        """How much of it lies in one line, seen the way where that is less."""
        return min(self.seen.straight_along, self.seen.straight_across)

    @property
    def is_clearly_seen(self) -> bool:
        """Whether some of it differs more from the cloth than the cloth from itself."""
        return max(self.seen.lighter, self.seen.darker) >= CLEARLY_SEEN

    @property
    def two_sided(self) -> float:
        """How strong the weaker of its lighter and its darker parts is, as a ratio of the stronger."""
        light, dark = self.seen.lighter, self.seen.darker
        return min(light, dark) / max(light, dark, 1e-6)

    def is_line(self, ratio: float) -> bool:
        """Tell whether it is so many times as long as broad."""
        return self.longer_mm >= ratio * self.shorter_mm


Rule = Callable[[Evidence], str | None]

LINE: Final = 3.0
"""A missing yarn is so many times as long as it is broad; `SHORT_LINE` of one that is clearly straight."""

SHORT_LINE: Final = 2.0
CLEARLY_STRAIGHT: Final = 0.85
"""The gap that a yarn of the weave leaves keeps to its place: nearly all of it lies in one line."""

STRAIGHT: Final = 0.8
HARDLY_STRAIGHT: Final = 0.5
NARROW_MM: Final = 1.4
"""What is no broader has no room to sway: it need be less straight."""

SURE_LINE_MM: Final = 100.0
"""A loose end that lies on the cloth is shorter; what is missing for longer is a yarn of the cloth."""

SWAYS_MM: Final = 1.7
"""A loose yarn is not held by the weave: it wanders sideways by more than its own thickness."""

SWAYING: Final = 0.75
LEAST_GAP_MM: Final = 18.0
"""A shorter line may be the gap of a yarn as well as a thick place in one."""

BLOTCH: Final = 0.45
"""A hole, a nep: all of it lies in one place, seen along and across."""

WANDERS: Final = 0.4
"""Of a yarn that wanders over the cloth less than this lies in one line."""

LOOSE_MM: Final = 5.0
"""It needs so much room each way: floats and frayed spots are smaller."""

CLEARLY_SEEN: Final = 3.3
"""Deviations of the cloth around that a thread, or a hole, differs by at least somewhere: less is grain."""

LEAST_HOLE_MM: Final = 1.6
LEAST_HOLE_BOX_MM: Final = 2.0
"""A hole is wider than the gap of a yarn or two, and longer than a nep."""

HOLE_PART: Final = 0.35
"""A hole is so thick at least, as part of the shorter side of its box; a yarn leaves most of that free."""

NEP_MM: Final = 4.8
SPECK_MM: Final = 2.2
SOLID: Final = 0.43
"""A nep is round and frayed; a float fills its box. What is smaller than `SPECK_MM` always does."""

SLUB: Final = 2.2
"""What is so many times as long as broad is a thick place along a yarn; how broad at most, and how long."""

SLUB_MM: Final = 2.2
SLUB_LENGTH_MM: Final = (3.0, 20.0)
STAIN_MM: Final = 4.2
PALE_STAIN_MM: Final = 6.5
"""Least breadth of a stain; of one lighter than the cloth more, as floats are light and up to so broad."""

STAIN_WEAVE: Final = 0.58
"""A stain colours the yarns: so much of the contrast of the weave is left in it."""

BOTH_SIDES: Final = 0.35
"""A fold has a lit slope and a shaded one; of the weaker at least so much of the stronger is seen. Of a
thread or a stain, which are lighter or darker than the cloth and have a shadow at most, less than
`ONE_SIDE`."""

ONE_SIDE: Final = 0.6

CREASE_MM: Final = 2.9
"""Breadth of the slope beside a fold that was pressed in; the waves of a wrinkle are over `WRINKLE_MM`."""

WRINKLE_MM: Final = 3.3


def kind_of(class_name: str, length_mm: float, breadth_mm: float, seen: Appearance | None) -> str | None:
    """Return the kind of a defect.

    Args:
        class_name: that a detector gave it.
        length_mm, breadth_mm: of the whole defect, along the warp and across.
        seen: what the image shows; None if nobody has looked.
    Returns:
        A category of the taxonomy; None where that is not decided, or the class is not one of those that
        the rules know.
    """
    rule = RULES.get(class_name)
    return None if rule is None or seen is None else rule(Evidence(length_mm, breadth_mm, seen))


def kinds_in_image(
    found: Detections, image: Image, class_names: Sequence[str], mm_per_px_xy: tuple[float, float]
) -> tuple[tuple[Appearance | None, ...], tuple[str | None, ...]]:
    """Look at the defects of an image.

    Args:
        found: in its pixels.
        image: (H, W) grey or (H, W, 3) BGR, uint8.
        class_names: of the run.
        mm_per_px_xy: scale across the cloth and along it.
    Returns:
        What the image shows of each, and its kind by what is in the image; None where nobody looked.
    """
    names = [class_names[number] for number in found.class_ids.tolist()]
    surest = set(np.argsort(-found.scores, kind="stable")[:MOST_LOOKED_AT].tolist())
    appearances: list[Appearance | None] = []
    kinds: list[str | None] = []
    for number, ((left, top, right, bottom), name) in enumerate(
        zip(found.boxes_xyxy_px.tolist(), names, strict=True)
    ):
        seen = None
        if number in surest and name in RULES:
            seen = measure_appearance(image, (left, top, right, bottom), mm_per_px_xy)
        across_mm, along_mm = mm_per_px_xy
        appearances.append(seen)
        kinds.append(kind_of(name, (bottom - top) * along_mm, (right - left) * across_mm, seen))
    return tuple(appearances), tuple(kinds)


def settled(defect: ClothDefect) -> ClothDefect:
    """Return a complete defect with its kind; one that nobody has looked at keeps what it has."""
    if defect.appearance is None:
        return defect
    kind = kind_of(defect.class_name, defect.length_mm, defect.breadth_mm, defect.appearance)
    return replace(defect, kind=kind)


def _broken(one: Evidence) -> str | None:
    if one.is_line(LINE) or (one.is_line(SHORT_LINE) and one.straight >= CLEARLY_STRAIGHT):
        return _yarn(one)
    return _torn(one)


def _yarn(one: Evidence) -> str | None:
    """Tell a missing yarn, which is straight, from a loose one that lies along the yarns and sways."""
    missing = "broken end" if one.runs_along else "broken pick"
    if one.longer_mm < LEAST_GAP_MM:
        return None
    if one.straight >= STRAIGHT:
        return missing
    if one.straight <= SWAYING and one.seen.sway_mm >= SWAYS_MM:
        is_loose = one.is_clearly_seen and one.longer_mm < SURE_LINE_MM and one.two_sided < ONE_SIDE
        return "broken yarn" if is_loose else None
    is_narrow = one.straight >= HARDLY_STRAIGHT and one.seen.sway_mm <= NARROW_MM
    return missing if is_narrow or one.longer_mm >= SURE_LINE_MM else None


def _torn(one: Evidence) -> str | None:
    """Tell a hole from a torn yarn that wanders over the cloth."""
    if not one.is_clearly_seen or one.two_sided >= ONE_SIDE or one.longer_mm <= NEP_MM:
        return None
    least_mm = max(LEAST_HOLE_MM, HOLE_PART * one.shorter_mm)
    if one.in_one_place >= BLOTCH and one.seen.thickness_mm >= least_mm:
        return "hole" if one.shorter_mm >= LEAST_HOLE_BOX_MM else None
    return "broken yarn" if one.in_one_place <= WANDERS and one.shorter_mm >= LOOSE_MM else None


def _drop(one: Evidence) -> str | None:
    """Tell a slub, a nep and a stain by their size, and by whether the weave shows through."""
    if one.is_line(SLUB):
        is_long = SLUB_LENGTH_MM[0] <= one.longer_mm <= SLUB_LENGTH_MM[1]
        return "slub" if is_long and one.shorter_mm <= SLUB_MM else None
    if one.longer_mm <= NEP_MM:
        is_frayed = one.longer_mm <= SPECK_MM or one.seen.fill < SOLID
        return "nep" if is_frayed and one.in_one_place >= BLOTCH else None
    is_dark = one.seen.darker > one.seen.lighter
    is_broad = one.shorter_mm >= (STAIN_MM if is_dark else PALE_STAIN_MM)
    is_one_patch = one.in_one_place > WANDERS and one.two_sided < ONE_SIDE
    return "stain" if is_broad and is_one_patch and one.seen.weave >= STAIN_WEAVE else None


def _wrinkle(one: Evidence) -> str | None:
    """Tell the sharp line of a fold from waves."""
    if one.two_sided < BOTH_SIDES:
        return None
    if 0 < one.seen.thickness_mm <= CREASE_MM:
        return "crease"
    return "wrinkle" if one.seen.thickness_mm >= WRINKLE_MM else None


RULES: Final[Mapping[str, Rule]] = {"broken": _broken, "drop": _drop, "wrinkle": _wrinkle}
"""Class to the rule that tells its kinds from each other."""
