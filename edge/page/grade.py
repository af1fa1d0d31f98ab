"""Say how the roll on the loom is graded so far, and when that means something."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from edge.cloth.grading import MOST_POINTS_PER_M, Grade, grade_points

USUAL_LIMIT: Final = 20.0
"""Points per 100 square metres that the best grade admits where a plant has set no limits."""

AREA_OF_POINTS_M2: Final = 100.0
"""Points are given for so many square metres: from there on they are no extrapolation."""


@dataclass(frozen=True, slots=True)
class GradeSoFar:
    """Say how a roll stands.

    Attributes:
        inspected_m2: area that was inspected; None where the width of the cloth, or any position, is not
            known: then there is no grade.
        means_m2: from this area on the grade means something; see `meaningful_m2`.
    """

    grade: Grade
    inspected_m2: float | None
    means_m2: float

    @property
    def is_early(self) -> bool:
        """Whether one metre of cloth alone still decides the grade."""
        return self.inspected_m2 is not None and self.inspected_m2 < self.means_m2

    def as_json(self) -> dict[str, Any]:
        """Return it for the page."""
        area = self.inspected_m2
        return self.grade.as_json() | {
            "inspected_m2": None if area is None else round(area, 4),
            "means_m2": round(self.means_m2, 1),
            "is_early": self.is_early,
        }


NOTHING_YET: Final = GradeSoFar(Grade(0, None, None), None, AREA_OF_POINTS_M2)


def meaningful_m2(limits: Mapping[str, float]) -> float:
    """Return the area from which on the worst metre of a roll does not alone cost it the best grade."""
    best = min(limits.values(), default=USUAL_LIMIT)
    worst_metre = MOST_POINTS_PER_M * AREA_OF_POINTS_M2
    return AREA_OF_POINTS_M2 if best <= 0 else min(AREA_OF_POINTS_M2, worst_metre / best)


def graded(points: int, area_m2: float | None, limits: Mapping[str, float]) -> GradeSoFar:
    """Grade a roll by the points that it was charged and the area that was inspected."""
    return GradeSoFar(grade_points(points, area_m2, limits), area_m2, meaningful_m2(limits))
