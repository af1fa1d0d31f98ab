"""Charge defects with points by the system of a buyer: four-point, ten-point, or a table of their own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, inf
from typing import Final

from edge.cloth.defects import ClothDefect
from edge.config.buyers import BuyerRules, PointRow

YARD_M: Final = 0.9144
INCH_MM: Final = 25.4
HOLE: Final = "hole"

NOISE_M: Final = 1e-9
"""Lengths are differences of metres along the roll: their last digits are noise."""

PointsUpTo = tuple[tuple[float, int], ...]
"""Largest size in mm that a row is for, and its points; that of the last row is infinite."""

FOUR_POINT_TABLE: Final[PointsUpTo] = ((75.0, 1), (150.0, 2), (230.0, 3), (inf, 4))
"""ASTM D5430, option A, in its metric form."""

HOLE_TABLE: Final[PointsUpTo] = ((INCH_MM, 2), (inf, 4))
"""ASTM D5430, openings."""

TEN_POINT_WARP: Final[PointsUpTo] = ((INCH_MM, 1), (5 * INCH_MM, 3), (10 * INCH_MM, 5), (inf, 10))
"""Ten-point system of 1955 (Textile Distributors Institute, National Federation of Textiles): up to 1, 5,
10 and 36 inches along the warp. A longer defect runs, and is charged 10 in each yard."""


@dataclass(frozen=True, slots=True)
class Charging:
    """Say how many points a defect is charged, and in which linear units (metres or yards) of the roll.

    The defaults are the four-point system of ASTM D5430 by linear metres.

    Attributes:
        along: table for defects that are longer along the warp than across.
        across: table for the others.
        holes: table for defects of the kind `hole`; None: as other defects.
        unit_m: length of a linear unit.
        most_points: of a linear unit.
        running_m: a defect that is longer along the roll is charged the points of the largest one in each
            unit; None: longer than a unit.
    """

    along: PointsUpTo = FOUR_POINT_TABLE
    across: PointsUpTo = FOUR_POINT_TABLE
    holes: PointsUpTo | None = None
    unit_m: float = 1.0
    most_points: int = 4
    running_m: float | None = None

    def is_running(self, defect: ClothDefect) -> bool:
        """Tell whether a defect is charged in each unit that it is long."""
        most_m = self.unit_m if self.running_m is None else self.running_m
        return defect.end_m - defect.start_m > most_m + NOISE_M

    def points_in_unit(self, defect: ClothDefect) -> int:
        """Return the points of a defect in each unit that it is charged to.

        Its size is the longer side of the rectangle around it.
        """
        if self.is_running(defect):
            return self.along[-1][1]
        is_along = defect.length_mm >= defect.breadth_mm
        table = self.along if is_along else self.across
        if self.holes is not None and defect.kind == HOLE:
            table = self.holes
        return points_up_to(table, max(defect.length_mm, defect.breadth_mm))

    def units_of(self, defect: ClothDefect) -> range:
        """Return the units that a defect is charged to: its first one; as many as it is long if it runs."""
        first = floor(defect.start_m / self.unit_m + NOISE_M)
        count = ceil((defect.end_m - defect.start_m) / self.unit_m - NOISE_M)
        return range(first, first + (max(1, count) if self.is_running(defect) else 1))

    def units_reached(self, defect: ClothDefect) -> range:
        """Return the units that a defect lies in, and is charged to if the cloth is cut before them."""
        charged = self.units_of(defect)
        return range(charged.start, max(charged.stop, ceil(defect.end_m / self.unit_m - NOISE_M)))

    def capped(self, points: Iterable[int]) -> int:
        """Add the points of a unit up, as far as it can be charged."""
        return min(sum(points), self.most_points)


FOUR_POINT: Final = Charging()


def points_up_to(table: PointsUpTo, size_mm: float) -> int:
    """Return the points of a size by a table."""
    return next((points for most_mm, points in table if size_mm <= most_mm + NOISE_M * 1000), table[-1][1])


def charging_of(rules: BuyerRules, width_mm: float | None) -> Charging:
    """Return how a buyer's rules charge defects.

    Args:
        rules: of the buyer.
        width_mm: of the cloth; None if not known: points that depend on it are then the highest.
    """
    along = across = FOUR_POINT_TABLE
    if rules.system == "ten-point":
        along, across = TEN_POINT_WARP, ten_point_weft(width_mm)
    elif rules.system == "own":
        along = across = _up_to(rules.point_table)
    by_width = _up_to(rules.linear_points_by_width)
    most = rules.linear_points or rules.largest_points
    return Charging(
        along,
        across,
        HOLE_TABLE if rules.astm_holes else None,
        YARD_M if rules.unit == "yard" else 1.0,
        points_up_to(by_width, inf if width_mm is None else width_mm) if by_width else most,
        rules.running_defect_m,
    )


def ten_point_weft(width_mm: float | None) -> PointsUpTo:
    """Return the table of the ten-point system across the cloth: over half of its width is 10 points."""
    least_mm = 5 * INCH_MM
    half_mm = least_mm if width_mm is None else max(least_mm, width_mm / 2)
    return ((INCH_MM, 1), (least_mm, 3), (half_mm, 5), (inf, 10))


def _up_to(table: tuple[PointRow, ...]) -> PointsUpTo:
    return tuple((inf if row.up_to_mm is None else row.up_to_mm, row.points) for row in table)
