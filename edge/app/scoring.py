"""Compare what was found on a simulated roll with what was planted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from edge.cloth.defects import ClothDefect
from edge.simulator.truth import DIFFICULTIES, PlantedDefect

COUNTED = DIFFICULTIES[:-1]
"""Grades that count towards recall. The barely visible are reported beside it: a careful person may miss
them, so missing one is no fault, and finding one is no false alarm."""


@dataclass(frozen=True, slots=True)
class TruthScore:
    """Count what became of the planted defects.

    Attributes:
        planted, found, missed: defects of the grades that count.
        named_right: those found of which a report had the right class.
        false: reports that touch no planted defect, of whatever grade.
        by_difficulty: grade -> (planted, found).
        by_category: category -> (planted, found), of the grades that count.
    """

    planted: int
    found: int
    missed: int
    named_right: int
    false: int
    by_difficulty: dict[str, tuple[int, int]]
    by_category: dict[str, tuple[int, int]]

    @property
    def recall(self) -> float | None:
        """Share of the planted defects that were found; None if none was planted."""
        return self.found / self.planted if self.planted else None

    @property
    def precision(self) -> float | None:
        """Share of real ones among planted defects found and false alarms; None if there are neither."""
        reported = self.found + self.false
        return self.found / reported if reported else None

    def as_json(self) -> dict[str, Any]:
        """Return the counts and shares for a summary."""
        return {
            "planted": self.planted,
            "found": self.found,
            "missed": self.missed,
            "named_right": self.named_right,
            "false": self.false,
            "recall": None if self.recall is None else round(self.recall, 4),
            "precision": None if self.precision is None else round(self.precision, 4),
            "by_difficulty": _counts(self.by_difficulty),
            "by_category": _counts(self.by_category),
        }


def score_found(
    planted: Sequence[PlantedDefect], found: Sequence[ClothDefect], reached_m: float = inf
) -> TruthScore:
    """Match found defects to planted ones by place.

    A planted defect counts as found if a report touches it on the roll, whatever its class: a person is
    led to the place either way. How many reports had the right class is counted beside it. A report that
    touches no planted defect is a false alarm.

    Args:
        planted: at least all that touches what passed the camera.
        found: all that was reported.
        reached_m: last line that passed; a defect that had not wholly passed is not counted as planted.
    """
    by_place = _ByPlace(planted)
    hit: set[int] = set()
    named: set[int] = set()
    false = 0
    for defect in found:
        touched = by_place.touching(defect)
        hit.update(touched)
        named.update(number for number, class_name in touched.items() if class_name == defect.class_name)
        false += not touched
    passed = [truth for truth in planted if truth.along_m[1] <= reached_m]
    counted = [truth for truth in passed if truth.difficulty in COUNTED]
    met = sum(truth.defect_id in hit for truth in counted)
    return TruthScore(
        planted=len(counted),
        found=met,
        missed=len(counted) - met,
        named_right=sum(truth.defect_id in named for truth in counted),
        false=false,
        by_difficulty={
            grade: _planted_and_found([t for t in passed if t.difficulty == grade], hit)
            for grade in DIFFICULTIES
        },
        by_category={
            category: _planted_and_found([t for t in counted if t.category == category], hit)
            for category in sorted({truth.category for truth in counted})
        },
    )


class _ByPlace:
    """Planted defects in bins of a metre, so that long rolls are scored in linear time."""

    def __init__(self, planted: Sequence[PlantedDefect]) -> None:
        self._bins: dict[int, list[tuple[int, ClothDefect]]] = {}
        for truth in planted:
            place = ClothDefect(truth.class_name, 1.0, *truth.along_m, *truth.across_mm)
            for metre in range(int(place.start_m) - 1, int(place.end_m) + 2):
                self._bins.setdefault(metre, []).append((truth.defect_id, place))

    def touching(self, defect: ClothDefect) -> dict[int, str]:
        """Return the planted defects that a found one touches: id -> class."""
        return {
            defect_id: place.class_name
            for metre in range(int(defect.start_m), int(defect.end_m) + 1)
            for defect_id, place in self._bins.get(metre, [])
            if place.touches(defect)
        }


def _planted_and_found(planted: Sequence[PlantedDefect], hit: set[int]) -> tuple[int, int]:
    return len(planted), sum(truth.defect_id in hit for truth in planted)


def _counts(table: dict[str, tuple[int, int]]) -> dict[str, dict[str, int]]:
    return {name: {"planted": planted, "found": found} for name, (planted, found) in table.items()}
