"""Where to cut a roll so that its pieces are good."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import ceil

import numpy as np

from edge.cloth.grading import points_by_metre
from edge.roll.reading import Roll

LEAST_INSPECTED = 0.5
"""A metre of which less was inspected is part of no piece: nobody can vouch for it."""

CUT_COST_M = 1e-6
"""A piece costs that much, so that of two ways that keep the same length the one with fewer cuts wins."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a roll that is good enough.

    Attributes:
        start_m, end_m: where to cut.
        inspected_m: of its length.
        points: by the four-point system.
        points_per_100_m2: of it.
    """

    start_m: float
    end_m: float
    inspected_m: float
    points: int
    points_per_100_m2: float


def suggest_cuts(roll: Roll, least_m: float, most_points: float) -> list[Piece] | None:
    """Cut a roll at whole metres so that as much of it as possible lies in good pieces.

    A piece is good if it is at least `least_m` long, holds at most `most_points` per 100 square metres of
    what was inspected of it, and no metre that was hardly inspected. What lies between pieces is waste.

    Returns:
        The pieces in the order of the roll; None where length or width is not known.
    """
    width_mm = roll.width_mm
    if not width_mm or not roll.length_m:
        return None
    edges = np.array([*range(ceil(roll.length_m - 1e-9)), roll.length_m], np.float64)
    inspected = inspected_by_metre(roll)
    charged = points_by_metre(row.defect for row in roll.defects)
    inspected_sum = _sums(inspected)
    points_sum = _sums([charged[metre] for metre in range(len(inspected))])
    unseen = [inspected[i] < LEAST_INSPECTED * (b - a) for i, (a, b) in enumerate(pairwise(edges))]
    unseen_sum = _sums(unseen)
    kept, begin_of = np.zeros(len(edges)), [-1] * len(edges)
    for end in range(1, len(edges)):
        kept[end] = kept[end - 1]
        seen_m = inspected_sum[end] - inspected_sum[:end]
        good = (edges[end] - edges[:end] >= least_m - 1e-9) & (unseen_sum[end] == unseen_sum[:end])
        good &= (points_sum[end] - points_sum[:end]) * 100_000 <= most_points * seen_m * width_mm
        gain = np.where(good, kept[:end] + edges[end] - edges[:end] - CUT_COST_M, -1.0)
        begin = int(np.argmax(gain))
        if gain[begin] > kept[end]:
            kept[end], begin_of[end] = gain[begin], begin
    return [
        Piece(
            float(edges[begin]),
            float(edges[end]),
            seen_m := float(inspected_sum[end] - inspected_sum[begin]),
            points := int(points_sum[end] - points_sum[begin]),
            points * 100_000 / (seen_m * width_mm),
        )
        for begin, end in _chosen(begin_of)
    ]


def inspected_by_metre(roll: Roll) -> list[float]:
    """Return how much of each metre of the roll was inspected, in metres; the last one may be shorter."""
    count = ceil(roll.length_m - 1e-9)
    inspected = [min(1.0, roll.length_m - metre) for metre in range(count)]
    for gap in roll.gaps:
        if gap.start_m is None or gap.end_m is None:
            continue
        for metre in range(int(gap.start_m), min(count, ceil(gap.end_m))):
            inspected[metre] -= max(0.0, min(gap.end_m, metre + 1) - max(gap.start_m, metre))
    return [max(0.0, part) for part in inspected]


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
