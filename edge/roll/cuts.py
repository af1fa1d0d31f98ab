"""Plan where to cut a roll so that its pieces are good and least cloth is lost."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from edge.cloth.charging import YARD_M
from edge.core.errors import ConfigError
from edge.roll.contents import Roll
from edge.roll.cut_places import CutPlaces, cut_places

LEAST_INSPECTED = 0.5
"""A metre of whose area less was inspected is part of no piece: nobody can vouch for it."""

LONGEST_M = 20_000.0
"""No way to cut a longer roll is looked for: that takes time by the square of its length."""

SHORTEST_PIECE_M = 25.0
"""Where neither a buyer nor a person says how short a piece may be."""

CUT_COST_M = 1e-6
"""A piece costs that much, so that of two ways that keep the same length the one with fewer cuts wins."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PieceRequest:
    """Say what a piece has to be, where that is not as the rules of the roll have it.

    Attributes:
        least_m: shortest length; None for that of the rules.
        most_points: per 100 square metres; None for that of the rules, else the limit of the best grade.
    """

    least_m: float | None = None
    most_points: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no number.

        Raises:
            ConfigError: naming it.
        """
        for name, value in (("length", self.least_m), ("points", self.most_points)):
            if value is not None and not isfinite(value):
                raise ConfigError(f"A piece cannot have a {name} of {value}.", "Give a number.")

    def least_for(self, roll: Roll) -> float:
        """Return the shortest length."""
        return self.least_m or roll.rules.least_piece_m or SHORTEST_PIECE_M

    def points_for(self, roll: Roll) -> float | None:
        """Return the limit per 100 square metres; None for no limit."""
        for most in (self.most_points, roll.rules.piece_points):
            if most is not None:
                return most
        return min(roll.grade_limits.values(), default=None)


@dataclass(frozen=True, slots=True)
class Piece:
    """Hold a piece of a roll that is good enough.

    Attributes:
        start_m, end_m: where to cut.
        inspected_m2: of its area, without edges that are not graded.
        points: by the system of the rules.
        points_per_100_m2: of it.
    """

    start_m: float
    end_m: float
    inspected_m2: float
    points: int
    points_per_100_m2: float


def most_points_per_yard(roll: Roll) -> float | None:
    """Return the most points of a piece per yard of its inspected length; None: no such limit.

    By the ten-point system a piece is of first quality if its points do not exceed its yards.
    """
    return 1.0 if roll.rules.system == "ten-point" else None


def suggest_cuts(roll: Roll, least_m: float, most_points: float | None) -> list[Piece] | None:
    """Cut a roll so that as much of it as possible lies in good pieces.

    Cuts fall between linear units (metres or yards), and before and behind what must be cut out. A piece is
    good if it is at least `least_m` long, holds at most `most_points` per 100 square metres of what was
    inspected of it (None: any number), nothing that must be cut out, and no unit that was hardly inspected.
    A piece that begins with the end of a defect is charged for it. What lies between pieces is waste.

    Returns:
        The pieces in the order of the roll; None where length or width is not known, or the roll is longer
        than `LONGEST_M`.
    """
    across = roll.graded_across
    if not across.width_mm or not 0 < roll.length_m <= LONGEST_M:
        return None
    places = cut_places(roll)
    at_m = places.at_m
    area_sum = _sums(inspected_between(roll, at_m.tolist()))
    least_m2 = LEAST_INSPECTED * np.diff(places.units_m) * across.width_mm / 1000
    unseen_sum = _sums(inspected_between(roll, places.units_m.tolist()) < least_m2)
    per_yard, seen_mm = most_points_per_yard(roll), across.seen_mm or 0.0
    kept, begin_of = np.zeros(len(at_m)), [-1] * len(at_m)
    for end in range(1, len(at_m)):
        kept[end] = kept[end - 1]
        low = places.first_begin(end)
        if low >= end:
            continue
        seen_m2 = area_sum[end] - area_sum[low:end]
        points = places.points(low, end)
        good = at_m[end] - at_m[low:end] >= least_m - 1e-9
        good &= unseen_sum[places.next_unit[end]] == unseen_sum[places.unit[low:end]]
        if most_points is not None:
            good &= points * 100 <= most_points * seen_m2
        if per_yard is not None:
            good &= points * seen_mm * YARD_M <= per_yard * seen_m2 * 1000 * (1 + 1e-9)
        gain = np.where(good, kept[low:end] + at_m[end] - at_m[low:end] - CUT_COST_M, -1.0)
        best = int(np.argmax(gain))
        if gain[best] > kept[end]:
            kept[end], begin_of[end] = gain[best], low + best
    return [_piece(places, area_sum, begin, end) for begin, end in _chosen(begin_of)]


def _piece(places: CutPlaces, area_sum: Floats, begin: int, end: int) -> Piece:
    seen_m2, points = float(area_sum[end] - area_sum[begin]), int(places.points(begin, end)[0])
    return Piece(
        float(places.at_m[begin]), float(places.at_m[end]), seen_m2, points, points * 100 / seen_m2
    )


def inspected_between(roll: Roll, edges_m: Sequence[float]) -> Floats:
    """Return how much was inspected between places along the roll, in square metres, without ignored edges.

    Of several cameras, what any of them missed of a stretch is taken as missed by all.
    """
    inspected = [end - start for start, end in pairwise(edges_m)]
    for gap in roll.gaps:
        if gap.start_m is None or gap.end_m is None:
            continue
        first = max(0, bisect_right(edges_m, gap.start_m) - 1)
        for index in range(first, min(len(inspected), bisect_left(edges_m, gap.end_m))):
            inspected[index] -= max(
                0.0, min(gap.end_m, edges_m[index + 1]) - max(gap.start_m, edges_m[index])
            )
    seen_m = (roll.graded_across.seen_mm or 0.0) / 1000
    return np.maximum(np.array(inspected, np.float64), 0.0) * seen_m


def _sums(values: NDArray[np.generic]) -> Floats:
    return np.array([0.0, *np.cumsum(values, dtype=np.float64)], np.float64)


def _chosen(begin_of: list[int]) -> list[tuple[int, int]]:
    """Walk back through the best pieces."""
    pieces, end = [], len(begin_of) - 1
    while end > 0:
        begin = begin_of[end]
        if begin >= 0:
            pieces.append((begin, end))
        end = begin if begin >= 0 else end - 1
    return pieces[::-1]
