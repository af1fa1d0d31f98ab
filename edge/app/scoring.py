"""Compare what was found on a simulated roll with what was planted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from edge.cloth.defects import ClothDefect
from edge.simulator.ground_truth import DIFFICULTIES, PlantedDefect

COUNTED = DIFFICULTIES[:-1]
"""Grades that count towards recall. The barely visible are reported beside it: a careful person may miss
them, so missing one is no fault, and finding one is no false alarm."""


@dataclass(frozen=True, slots=True)
class PlantedScore:
    """Count what became of the planted defects.

    Attributes:
        planted, true_positives, false_negatives: defects of the grades that count.
        named_right: those found of which a report had the right class.
        false_positives: reports that touch no planted defect, of whatever grade.
        by_difficulty: grade -> (planted, found).
        by_category: category -> (planted, found), of the grades that count.
    """

    planted: int
    true_positives: int
    false_negatives: int
    named_right: int
    false_positives: int
    by_difficulty: dict[str, tuple[int, int]]
    by_category: dict[str, tuple[int, int]]

    @property
    def recall(self) -> float | None:
        """Fraction of the planted defects that were found; None if none was planted."""
        return self.true_positives / self.planted if self.planted else None

    @property
    def precision(self) -> float | None:
        """Fraction of real ones among planted defects found and false alarms; None if there are neither."""
        reported = self.true_positives + self.false_positives
        return self.true_positives / reported if reported else None

    def as_json(self) -> dict[str, Any]:
        """Return the counts and fractions for a summary."""
        return {
            "planted": self.planted,
            "found": self.true_positives,
            "missed": self.false_negatives,
            "named_right": self.named_right,
            "false": self.false_positives,
            "recall": None if self.recall is None else round(self.recall, 4),
            "precision": None if self.precision is None else round(self.precision, 4),
            "by_difficulty": _counts(self.by_difficulty),
            "by_category": _counts(self.by_category),
        }


def score_found(
    planted: Sequence[PlantedDefect], reported: Sequence[ClothDefect], reached_m: float = inf
) -> PlantedScore:
    """Match found defects to planted ones by place.

    A planted defect counts as found if a report touches it on the roll, whatever its class: a person is
    led to the place either way. How many reports had the right class is counted beside it. A report that
    touches no planted defect is a false alarm.

    Args:
        planted: at least all that touches what passed the camera.
        reported: all that was reported.
        reached_m: last line that passed; a defect that had not wholly passed is not counted as planted.
    """
    by_place = _ByPlace(planted)
    hit: set[int] = set()
    named: set[int] = set()
    false_positives = 0
    for defect in reported:
        touched = by_place.touching(defect)
        hit.update(touched)
        named.update(number for number, class_name in touched.items() if class_name == defect.class_name)
        false_positives += not touched
    passed = [ground_truth for ground_truth in planted if ground_truth.along_m[1] <= reached_m]
    counted = [ground_truth for ground_truth in passed if ground_truth.difficulty in COUNTED]
    met = sum(ground_truth.defect_id in hit for ground_truth in counted)
    return PlantedScore(
        planted=len(counted),
        true_positives=met,
        false_negatives=len(counted) - met,
        named_right=sum(ground_truth.defect_id in named for ground_truth in counted),
        false_positives=false_positives,
        by_difficulty={
            grade: _planted_and_found([t for t in passed if t.difficulty == grade], hit)
            for grade in DIFFICULTIES
        },
        by_category={
            category: _planted_and_found([t for t in counted if t.category == category], hit)
            for category in sorted({ground_truth.category for ground_truth in counted})
        },
    )


class _ByPlace:
    """Planted defects in bins of a metre, so that long rolls are scored in linear time."""

    def __init__(self, planted: Sequence[PlantedDefect]) -> None:
        self._bins: dict[int, list[tuple[int, ClothDefect]]] = {}
        for ground_truth in planted:
            place = ClothDefect(
                ground_truth.class_name, 1.0, *ground_truth.along_m, *ground_truth.across_mm
            )
            for metre in range(int(place.start_m) - 1, int(place.end_m) + 2):
                self._bins.setdefault(metre, []).append((ground_truth.defect_id, place))

    def touching(self, defect: ClothDefect) -> dict[int, str]:
        """Return the planted defects that a found one touches: id -> class."""
        return {
            defect_id: place.class_name
            for metre in range(int(defect.start_m), int(defect.end_m) + 1)
            for defect_id, place in self._bins.get(metre, [])
            if place.touches(defect)
        }


def _planted_and_found(planted: Sequence[PlantedDefect], hit: set[int]) -> tuple[int, int]:
    return len(planted), sum(ground_truth.defect_id in hit for ground_truth in planted)


def _counts(table: dict[str, tuple[int, int]]) -> dict[str, dict[str, int]]:
    return {name: {"planted": planted, "found": reported} for name, (planted, reported) in table.items()}
