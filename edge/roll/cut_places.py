"""Find where a roll may be cut, and charge the pieces between those places."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, floor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.cloth.charging import NOISE_M, Charging
from edge.cloth.defects import ClothDefect
from edge.cloth.grading import points_after_cuts, points_by_unit
from edge.roll.contents import Roll

CUTS_PER_M = 10
"""What must be cut out is cut out in whole decimetres."""


class CutOut(NamedTuple):
    """Stretch of a roll that is in no piece, and the kinds of defects in it."""

    start_m: float
    end_m: float
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CutPlaces:
    """Hold the places along a roll where it may be cut, in order, its two ends among them.

    Attributes:
        at_m: (N,) metres along the roll.
        unit: (N,) number of the linear unit that a piece beginning there begins in.
        next_unit: (N,) number of the first unit that a piece ending there does not touch.
        units_m: (U + 1,) ends of the linear units.
        before: (U + 1,) points of all units before one.
        head: (N,) points of its unit for defects before the place; 0 between units.
        tail: (N,) points of its unit for defects behind the place, and for those that reach across it.
        first_of: (N,) the first place where a piece that ends there may begin.
    """

    at_m: NDArray[np.float64]
    unit: NDArray[np.int64]
    next_unit: NDArray[np.int64]
    units_m: NDArray[np.float64]
    before: NDArray[np.float64]
    head: NDArray[np.float64]
    tail: NDArray[np.float64]
    first_of: NDArray[np.int64]

    def first_begin(self, end: int) -> int:
        """Return the first place where a piece that ends at this one may begin."""
        return int(self.first_of[end])

    def points(self, low: int, end: int) -> NDArray[np.float64]:
        """Return the points of the pieces that begin at the places low to end - 1, and end at `end`.

        Of a piece within one unit these are the points of all that lies behind its beginning in that unit.
        """
        begins, stop = self.unit[low:end], self.unit[end]
        whole = self.before[stop] - self.before[np.minimum(begins + 1, stop)] + self.head[end]
        return self.tail[low:end] + np.where(begins < stop, whole, 0.0)


def cut_places(roll: Roll) -> CutPlaces:
    """Return the places where a roll may be cut: between linear units, and around what must be cut out."""
    charging, defects = roll.charging, [row.defect for row in roll.charged_rows]
    count = ceil(roll.length_m / charging.unit_m - NOISE_M)
    units_m = np.array([*(unit * charging.unit_m for unit in range(count)), roll.length_m], np.float64)
    out = cut_outs(roll)
    at_m = np.unique([*units_m, *(edge for one in out for edge in (one.start_m, one.end_m))])
    unit = np.searchsorted(units_m, at_m, "right") - 1
    is_inside = at_m != units_m[unit]
    charged, after = points_by_unit(defects, charging), points_after_cuts(defects, charging)
    head, tail = np.zeros(len(at_m)), np.array([after[number] for number in unit.tolist()], np.float64)
    head[is_inside], tail[is_inside] = _within_units(at_m[is_inside], unit[is_inside], defects, charging)
    tail[-1] = 0.0
    return CutPlaces(
        at_m,
        unit,
        unit + is_inside,
        units_m,
        np.array([0, *accumulate(charged[number] for number in range(count))], np.float64),
        head,
        tail,
        _first_begins(at_m, out),
    )


def cut_outs(roll: Roll) -> list[CutOut]:
    """Return the stretches that are in no piece by the rules of the roll, apart, in whole decimetres."""
    rules, charging = roll.rules, roll.charging
    found = []
    for row in roll.charged_rows:
        defect = row.defect
        is_refused = rules.refuse_running_defects and charging.is_running(defect)
        if is_refused or defect.kind in rules.cut_out or defect.class_name in rules.cut_out:
            start = floor(defect.start_m * CUTS_PER_M + NOISE_M)
            end = max(start + 1, ceil(defect.end_m * CUTS_PER_M - NOISE_M))
            name = defect.kind or defect.class_name
            found.append(CutOut(start / CUTS_PER_M, end / CUTS_PER_M, (name,)))
    return list(_joined(found, roll.length_m))


def _joined(found: Iterable[CutOut], length_m: float) -> Iterator[CutOut]:
    """Join stretches that overlap or touch, and leave out what is off the roll."""
    last: CutOut | None = None
    for one in sorted(found):
        start_m, end_m = max(one.start_m, 0.0), min(one.end_m, length_m)
        if start_m >= end_m:
            continue
        if last is not None and start_m <= last.end_m:
            kinds = tuple(sorted({*last.kinds, *one.kinds}))
            last = CutOut(last.start_m, max(last.end_m, end_m), kinds)
            continue
        if last is not None:
            yield last
        last = CutOut(start_m, end_m, one.kinds)
    if last is not None:
        yield last


def _within_units(
    at_m: NDArray[np.float64], unit: NDArray[np.int64], defects: Sequence[ClothDefect], charging: Charging
) -> tuple[list[int], list[int]]:
    """Charge the parts of units before and behind places within them."""
    in_unit: dict[int, list[ClothDefect]] = defaultdict(list)
    needed = set(unit.tolist())
    for defect in defects:
        for number in charging.units_reached(defect) if needed else ():
            if number in needed:
                in_unit[number].append(defect)
    heads, tails = [], []
    for place_m, number in zip(at_m.tolist(), unit.tolist(), strict=True):
        heads.append(
            charging.capped(
                charging.points_in_unit(one)
                for one in in_unit[number]
                if one.start_m < place_m - NOISE_M and number in charging.units_of(one)
            )
        )
        tails.append(
            charging.capped(
                charging.points_in_unit(one) for one in in_unit[number] if one.end_m > place_m + NOISE_M
            )
        )
    return heads, tails


def _first_begins(at_m: NDArray[np.float64], out: Sequence[CutOut]) -> NDArray[np.int64]:
    """Return the first begin of a piece for each end: behind what must be cut out before it."""
    if not out:
        return np.zeros(len(at_m), np.int64)
    starts, ends = np.array([one.start_m for one in out]), np.array([one.end_m for one in out])
    before = np.searchsorted(starts, at_m, "left")
    first_m = np.where(before > 0, ends[np.maximum(before - 1, 0)], 0.0)
    return np.searchsorted(at_m, first_m, "left")
