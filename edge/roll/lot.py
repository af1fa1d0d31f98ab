"""Grade several rolls as one lot by the rules of a buyer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.cloth.grading import points_per_100_m2
from edge.config.buyers import BuyerRules
from edge.core.errors import ConfigError
from edge.roll.buyers import buyer_facts, is_accepted, rules_of, with_rules
from edge.roll.contents import Roll
from edge.roll.side_by_side import read_roll_beside


@dataclass(frozen=True, slots=True)
class Lot:
    """Hold the rolls of a lot, graded by the rules of its buyer; at least one."""

    buyer: str
    rules: BuyerRules
    rolls: tuple[Roll, ...]

    @property
    def points(self) -> int:
        """Points of all rolls, also of those that are refused."""
        return sum(roll.grade.points for roll in self.rolls)

    @property
    def graded_m2(self) -> float | None:
        """Graded area of all rolls; None where that of one is not known."""
        areas = [roll.graded_m2 for roll in self.rolls]
        known = [area for area in areas if area is not None]
        return sum(known) if len(known) == len(areas) else None

    @property
    def points_per_100_m2(self) -> float | None:
        """Points of all rolls per 100 square metres of their graded area; None where that is not known."""
        return points_per_100_m2(self.points, self.graded_m2)

    @property
    def refusals(self) -> list[str]:
        """Why the lot is refused, in sentences."""
        most, per_area, reasons = self.rules.lot_points, self.points_per_100_m2, []
        if most is not None and per_area is not None and per_area > most:
            reasons.append(f"The lot has {per_area:.1f} points per 100 m²; at most {most:g} are permitted.")
        if all(is_accepted(roll) is False for roll in self.rolls):
            reasons.append("Every roll is refused.")
        return reasons

    @property
    def is_accepted(self) -> bool | None:
        """Whether the lot is accepted, without the rolls that are refused; None where that is not known."""
        if self.refusals:
            return False
        is_unknown = self.rules.lot_points is not None and self.points_per_100_m2 is None
        return None if is_unknown else True

    def as_json(self) -> dict[str, Any]:
        """Return it for a program."""
        per_area, area = self.points_per_100_m2, self.graded_m2
        return {
            "buyer": self.buyer,
            "rules": self.rules.model_dump(mode="json"),
            "points": self.points,
            "points_per_100_m2": None if per_area is None else round(per_area, 2),
            "graded_m2": None if area is None else round(area, 4),
            "accepted": self.is_accepted,
            "refusals": self.refusals,
            "rolls": [
                {"name": roll.name, "roll_id": roll.head["roll_id"], **roll.grade.as_json()}
                | {key: value for key, value in buyer_facts(roll).items() if key != "buyer"}
                for roll in self.rolls
            ],
        }


def read_lot(records: Sequence[Path], names: Sequence[str], buyer: str, file: Path | None) -> Lot:
    """Read the rolls of a lot.

    Args:
        records: of cameras beside each other; usually one.
        names: of the rolls, as for `read_roll`.
        buyer: by whose rules they are graded.
        file: that has these; see `rules_of`.
    Raises:
        ConfigError: if there are no such rules, or a roll is named twice.
        RecordError: if a record cannot be read, or lacks one of the rolls.
    """
    rules = rules_of(buyer, file)
    rolls = tuple(with_rules(read_roll_beside(records, name), buyer, rules) for name in names)
    ids = [roll.head["roll_id"] for roll in rolls]
    for name, roll_id in zip(names, ids, strict=True):
        if ids.count(roll_id) > 1:
            raise ConfigError(f"Roll '{name}' is named twice.", "Name each roll of the lot once.")
    return Lot(buyer, rules, rolls)
