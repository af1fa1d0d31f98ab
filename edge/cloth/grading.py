"""Grade a roll by the four-point system: penalty points by the length of its defects.

Source: ASTM D5430, Standard Test Methods for Visually Inspecting and Grading Fabrics, option A (four-point
system), in its metric form: a defect is charged 1 point up to 75 mm of length, 2 up to 150 mm, 3 up to
230 mm and 4 beyond; a linear metre is charged at most 4; a defect that goes on is charged 4 in each metre.
The standard sets no limit for a grade: buyer and seller agree on one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil, floor
from typing import Any, Final

from edge.cloth.defects import ClothDefect

POINTS_UP_TO_MM: Final = ((75.0, 1), (150.0, 2), (230.0, 3))
MOST_POINTS_PER_M: Final = 4

BELOW_GRADE: Final = "below grade"
"""What a roll is called that no grade admits."""

NOISE_M: Final = 1e-9
"""Lengths are differences of metres along the roll: their last digits are noise."""


@dataclass(frozen=True, slots=True)
class Grade:
    """Say what a roll, or a piece of one, was charged.

    Attributes:
        points: after the limit per metre.
        points_per_100_m2: None where the inspected area is not known, or there is none.
        grade: the best one whose limit holds; `below grade` if none does; None where that is not known.
    """

    points: int
    points_per_100_m2: float | None
    grade: str | None

    def as_json(self) -> dict[str, Any]:
        """Return it for a summary."""
        per_area = self.points_per_100_m2
        return {
            "points": self.points,
            "points_per_100_m2": None if per_area is None else round(per_area, 2),
            "grade": self.grade,
        }


def points_of_length(length_mm: float) -> int:
    """Return the points of a defect of this length, 1 to 4."""
    return next(
        (points for most_mm, points in POINTS_UP_TO_MM if length_mm <= most_mm + NOISE_M * 1000),
        MOST_POINTS_PER_M,
    )


def points_of(defect: ClothDefect) -> int:
    """Return the points of one defect before the limit per metre: 4 for each metre of one that goes on.

    Its length is that of the longer side of the rectangle around it.
    """
    return points_of_length(_length_mm(defect)) * len(_metres_of(defect))


def points_by_metre(defects: Iterable[ClothDefect]) -> Counter[int]:
    """Charge each metre of the roll, at most 4 points.

    A defect of up to a metre is charged to the one it begins in; a longer one to as many as it is long.

    Returns:
        Number of the metre, from the start of the roll, to points; metres without defects are left out.
    """
    charged: Counter[int] = Counter()
    for defect in defects:
        for metre in _metres_of(defect):
            charged[metre] += points_of_length(_length_mm(defect))
    return Counter({metre: min(points, MOST_POINTS_PER_M) for metre, points in charged.items()})


def points_after_cuts(defects: Iterable[ClothDefect]) -> Counter[int]:
    """Charge each metre as if the cloth were cut where it begins, at most 4 points.

    A piece that begins with the end of a defect holds it, whatever metre it was charged to.

    Returns:
        Number of the metre, from the start of the roll, to points; metres without defects are left out.
    """
    charged: Counter[int] = Counter()
    for defect in defects:
        metres = _metres_of(defect)
        for metre in range(metres.start, max(metres.stop, ceil(defect.end_m - NOISE_M))):
            charged[metre] += points_of_length(_length_mm(defect))
    return Counter({metre: min(points, MOST_POINTS_PER_M) for metre, points in charged.items()})


def total_points(defects: Iterable[ClothDefect]) -> int:
    """Return the sum of `points_by_metre`, however long defects are: metres are not counted one by one."""
    short: Counter[int] = Counter()
    long: list[range] = []
    for defect in defects:
        metres = _metres_of(defect)
        if metres.stop - metres.start > 1:
            long.append(metres)
        else:
            short[metres.start] += points_of_length(_length_mm(defect))
    return _charged(long, short)


def _charged(long: Iterable[range], short: Mapping[int, int]) -> int:
    """Charge metres of defects that go on 4 points each, and others what lies in them, at most 4."""
    runs: list[range] = []
    for run in sorted(long, key=lambda run: run.start):
        if runs and run.start <= runs[-1].stop:
            runs[-1] = range(runs[-1].start, max(runs[-1].stop, run.stop))
        else:
            runs.append(run)
    starts = [run.start for run in runs]
    points = MOST_POINTS_PER_M * sum(run.stop - run.start for run in runs)
    for metre, charged in short.items():
        index = bisect_right(starts, metre) - 1
        if index < 0 or metre not in runs[index]:
            points += min(charged, MOST_POINTS_PER_M)
    return points


def area_m2(inspected_m: float, width_mm: float | None) -> float | None:
    """Return an inspected area; None where the width is not known.

    Args:
        inspected_m: length that was inspected.
        width_mm: that was seen on it.
    """
    return None if width_mm is None else max(0.0, inspected_m) * max(0.0, width_mm) / 1000


def points_per_100_m2(points: int, inspected_m2: float | None) -> float | None:
    """Return points x 100 / inspected area; None where there is none, or it is not known.

    The source is the formula of ASTM D5430: total points x 100,000 / (length in m x width in mm).
    """
    return points * 100 / inspected_m2 if inspected_m2 else None


def grade_roll(
    defects: Iterable[ClothDefect], inspected_m2: float | None, limits: Mapping[str, float]
) -> Grade:
    """Grade a roll.

    Args:
        defects: all of them, in any order.
        inspected_m2: area that was inspected: what no camera saw is not counted as good cloth. None where
            it is not known.
        limits: grade to the most points per 100 square metres that it admits.
    """
    return grade_points(total_points(defects), inspected_m2, limits)


def grade_points(points: int, inspected_m2: float | None, limits: Mapping[str, float]) -> Grade:
    """Grade cloth by the points it was charged; see `grade_roll`."""
    per_area = points_per_100_m2(points, inspected_m2)
    if per_area is None or not limits:
        return Grade(points, per_area, None)
    holding = [(most, name) for name, most in limits.items() if per_area <= most]
    return Grade(points, per_area, min(holding)[1] if holding else BELOW_GRADE)


def _length_mm(defect: ClothDefect) -> float:
    return max((defect.end_m - defect.start_m) * 1000, defect.right_mm - defect.left_mm)


def _metres_of(defect: ClothDefect) -> range:
    first = floor(defect.start_m + NOISE_M)
    return range(first, first + max(1, ceil(defect.end_m - defect.start_m - NOISE_M)))
