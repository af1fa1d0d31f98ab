"""Grade a roll by the four-point system: penalty points by the length of its defects.

Source: ASTM D5430, Standard Test Methods for Visually Inspecting and Grading Fabrics, option A (four-point
system), in its metric form: a defect is charged 1 point up to 75 mm of length, 2 up to 150 mm, 3 up to
230 mm and 4 beyond; a linear metre is charged at most 4; a defect that runs is charged 4 in each metre. The
standard sets no limit for a grade: buyer and seller agree on one. `edge.cloth.charging` has other systems.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from edge.cloth.charging import FOUR_POINT, NOISE_M, YARD_M, Charging, points_up_to
from edge.cloth.defects import ClothDefect

MOST_POINTS_PER_M: Final = FOUR_POINT.most_points

BELOW_GRADE: Final = "below grade"
"""What a roll is called that no grade admits."""

FIRST_QUALITY, SECOND_QUALITY = "first", "second"


@dataclass(frozen=True, slots=True)
class Grade:
    """Say what a roll, or a piece of one, was charged.

    Attributes:
        points: after the limit per linear unit.
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
    return points_up_to(FOUR_POINT.along, length_mm)


def points_of(defect: ClothDefect, charging: Charging = FOUR_POINT) -> int:
    """Return the points of one defect in all its units, before the limit per linear unit."""
    return charging.points_in_unit(defect) * len(charging.units_of(defect))


def points_by_unit(defects: Iterable[ClothDefect], charging: Charging = FOUR_POINT) -> Counter[int]:
    """Charge each linear unit of the roll, at most its limit.

    A defect is charged to the unit it begins in; one that runs to as many as it is long.

    Returns:
        Number of the unit, from the start of the roll, to points; units without points are left out.
    """
    charged: Counter[int] = Counter()
    for defect in defects:
        points = charging.points_in_unit(defect)
        for unit in charging.units_of(defect):
            charged[unit] += points
    return Counter({unit: min(points, charging.most_points) for unit, points in charged.items() if points})


def points_after_cuts(defects: Iterable[ClothDefect], charging: Charging = FOUR_POINT) -> Counter[int]:
    """Charge each linear unit as if the cloth were cut where it begins, at most its limit.

    A piece that begins with the end of a defect holds it, whatever unit it was charged to.

    Returns:
        Number of the unit, from the start of the roll, to points; units without points are left out.
    """
    charged: Counter[int] = Counter()
    for defect in defects:
        points = charging.points_in_unit(defect)
        for unit in charging.units_reached(defect):
            charged[unit] += points
    return Counter({unit: min(points, charging.most_points) for unit, points in charged.items() if points})


def total_points(defects: Iterable[ClothDefect], charging: Charging = FOUR_POINT) -> int:
    """Return the sum of `points_by_unit`, however long defects are: units are not counted one by one."""
    changes: Counter[int] = Counter()
    for defect in defects:
        units, points = charging.units_of(defect), charging.points_in_unit(defect)
        changes[units.start] += points
        changes[units.stop] -= points
    total = charged = 0
    for unit, after in pairwise(sorted(changes)):
        charged += changes[unit]
        total += min(charged, charging.most_points) * (after - unit)
    return total


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
    defects: Iterable[ClothDefect],
    inspected_m2: float | None,
    limits: Mapping[str, float],
    charging: Charging = FOUR_POINT,
) -> Grade:
    """Grade a roll.

    Args:
        defects: all of them, in any order.
        inspected_m2: area that was inspected: what no camera saw is not counted as good cloth. None where
            it is not known.
        limits: grade to the most points per 100 square metres that it admits.
        charging: how defects are charged.
    """
    return grade_points(total_points(defects, charging), inspected_m2, limits)


def grade_points(points: int, inspected_m2: float | None, limits: Mapping[str, float]) -> Grade:
    """Grade cloth by the points it was charged; see `grade_roll`."""
    per_area = points_per_100_m2(points, inspected_m2)
    if per_area is None or not limits:
        return Grade(points, per_area, None)
    holding = [(most, name) for name, most in limits.items() if per_area <= most]
    return Grade(points, per_area, min(holding)[1] if holding else BELOW_GRADE)


def ten_point_quality(points: int, inspected_m: float) -> str | None:
    """Return the quality by the ten-point system: first if the points do not exceed the yards inspected.

    Returns:
        The quality; None where nothing was inspected.
    """
    if inspected_m <= 0:
        return None
    return FIRST_QUALITY if points <= inspected_m / YARD_M + NOISE_M else SECOND_QUALITY
