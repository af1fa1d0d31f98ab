"""Suggest where to cut a roll so that its pieces are good."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import ceil, isfinite

import numpy as np

from edge.cloth.grading import points_after_cuts, points_by_metre
from edge.core.errors import ConfigError
from edge.roll.contents import Roll

LEAST_INSPECTED = 0.5
"""A metre of whose area less was inspected is part of no piece: nobody can vouch for it."""

LONGEST_M = 20_000.0
"""No way to cut a longer roll is looked for: that takes time by the square of its length."""

CUT_COST_M = 1e-6
"""A piece costs that much, so that of two ways that keep the same length the one with fewer cuts wins."""


@dataclass(frozen=True, slots=True)
class PieceRequest:
    """Say what a piece has to be.

    Attributes:
        least_m: shortest length.
        most_points: per 100 square metres; None for the limit of the best grade.
    """

    least_m: float = 25.0
    most_points: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no number.

        Raises:
            ConfigError: naming it.
        """
        for name, value in (("length", self.least_m), ("points", self.most_points)):
            if value is not None and not isfinite(value):
                raise ConfigError(f"A piece cannot have a {name} of {value}.", "Give a number.")

    def points_for(self, roll: Roll) -> float | None:
        """Return the limit; None if nobody set one."""
        if self.most_points is not None:
            return self.most_points
        return min(roll.grade_limits.values(), default=None)


@dataclass(frozen=True, slots=True)
class Piece:
    """Hold a piece of a roll that is good enough.

    Attributes:
        start_m, end_m: where to cut.
        inspected_m2: of its area.
        points: by the four-point system.
        points_per_100_m2: of it.
    """

    start_m: float
    end_m: float
    inspected_m2: float
    points: int
    points_per_100_m2: float


def suggest_cuts(roll: Roll, least_m: float, most_points: float) -> list[Piece] | None:
    """Cut a roll at whole metres so that as much of it as possible lies in good pieces.

    A piece is good if it is at least `least_m` long, holds at most `most_points` per 100 square metres of
    what was inspected of it, and no metre that was hardly inspected. A piece that begins with the end of a
    defect is charged for it. What lies between pieces is waste.

    Returns:
        The pieces in the order of the roll; None where length or width is not known, or the roll is longer
        than `LONGEST_M`.
    """
    width_mm = roll.width_mm
    if not width_mm or not 0 < roll.length_m <= LONGEST_M:
        return None
    edges = np.array([*range(ceil(roll.length_m - 1e-9)), roll.length_m], np.float64)
    inspected = inspected_by_metre(roll)  # in square metres
    defects = [row.defect for row in roll.defects]
    charged, after_cuts = points_by_metre(defects), points_after_cuts(defects)
    inspected_sum = _sums(inspected)
    points_sum = _sums([charged[metre] for metre in range(len(inspected))])
    cut = np.array([after_cuts[metre] - charged[metre] for metre in range(len(edges))], np.float64)
    least_m2 = [LEAST_INSPECTED * (b - a) * width_mm / 1000 for a, b in pairwise(edges)]
    unseen = [area < least for area, least in zip(inspected, least_m2, strict=True)]
    unseen_sum = _sums(unseen)
    kept, begin_of = np.zeros(len(edges)), [-1] * len(edges)
    for end in range(1, len(edges)):
        kept[end] = kept[end - 1]
        seen_m2 = inspected_sum[end] - inspected_sum[:end]
        good = (edges[end] - edges[:end] >= least_m - 1e-9) & (unseen_sum[end] == unseen_sum[:end])
        good &= (points_sum[end] - points_sum[:end] + cut[:end]) * 100 <= most_points * seen_m2
        gain = np.where(good, kept[:end] + edges[end] - edges[:end] - CUT_COST_M, -1.0)
        begin = int(np.argmax(gain))
        if gain[begin] > kept[end]:
            kept[end], begin_of[end] = gain[begin], begin
    return [
        Piece(
            float(edges[begin]),
            float(edges[end]),
            seen_m2 := float(inspected_sum[end] - inspected_sum[begin]),
            points := int(points_sum[end] - points_sum[begin] + cut[begin]),
            points * 100 / seen_m2,
        )
        for begin, end in _chosen(begin_of)
    ]


def inspected_by_metre(roll: Roll) -> list[float]:
    """Return how much of each metre of the roll was inspected, in square metres.

    Of several cameras, what any of them missed of a stretch is taken as missed by all.
    """
    count = ceil(roll.length_m - 1e-9)
    inspected = [min(1.0, roll.length_m - metre) for metre in range(count)]
    for gap in roll.gaps:
        if gap.start_m is None or gap.end_m is None:
            continue
        for metre in range(max(0, int(gap.start_m)), min(count, ceil(gap.end_m))):
            inspected[metre] -= max(0.0, min(gap.end_m, metre + 1) - max(gap.start_m, metre))
    seen_m = (roll.across.seen_mm or 0.0) / 1000
    return [max(0.0, part) * seen_m for part in inspected]


def _sums(values: list[float] | list[int] | list[bool]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([0.0, *accumulate(map(float, values))], np.float64)


def _chosen(begin_of: list[int]) -> list[tuple[int, int]]:
    """Walk back through the best pieces."""
    pieces, end = [], len(begin_of) - 1
    while end > 0:
        begin = begin_of[end]
        if begin >= 0:
            pieces.append((begin, end))
        end = begin if begin >= 0 else end - 1
    return pieces[::-1]
