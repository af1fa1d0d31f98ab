"""Compute a budget of false alarms: how many an amount of clean cloth permits and can support."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final, Literal

from edge.core.counted import counted
from edge.core.errors import DatasetError

Unit = Literal["100 m", "m2", "image"]

MOST_ALARMS: Final = 1e6
"""Per unit; more is a slip of the pen."""

LEAST_ALLOWED: Final = 0.25
"""Least number of false alarms that the calibration cloth stands for at the rate asked for: below it the
level would lie further beyond the largest value seen than its tail can be trusted. Measured over tails from
normal to Pareto with exponent 4, 300 calibrations each (docs/false-alarms.md, section The statistics)."""


ENOUGH_IMAGES: Final = 40
"""So many images show how much cloth differs from one day to another. Those of a roll follow each other and
are counted by their metres."""

LEAST_TRUST: Final = 0.5
"""Of the rate asked for, that the levels of a few images are set for: they are alike, and what comes after
them is of other days. By folds over clean strips of seven fabrics, asked for 0.1 false alarms per strip,
0.074 came at the whole rate, 0.037 at 0.6 of it and no fewer at 0.25; of planted defects 0.598, 0.592 and
0.573 were found."""


@dataclass(frozen=True, slots=True)
class ClothAmount:
    """Hold how much clean cloth was inspected.

    Attributes:
        images: frames or strips.
        metres, square_metres: 0 where no scale is known.
    """

    images: int
    metres: float = 0.0
    square_metres: float = 0.0

    def __add__(self, other: ClothAmount) -> ClothAmount:
        """Return both together."""
        return ClothAmount(
            self.images + other.images,
            self.metres + other.metres,
            self.square_metres + other.square_metres,
        )

    def units(self, per: Unit) -> float:
        """Return the amount in units of a budget."""
        return {"100 m": self.metres / 100, "m2": self.square_metres, "image": float(self.images)}[per]


@dataclass(frozen=True, slots=True)
class Budget:
    """At most so many false alarms per unit of cloth."""

    false_alarms: float
    per: Unit

    def allowed_on(self, cloth: ClothAmount) -> float:
        """Return how many false alarms the budget allows on an amount of cloth."""
        return self.false_alarms * cloth.units(self.per)

    def set_on(self, cloth: ClothAmount) -> float:
        """Return how many false alarms the levels are set for: fewer than are allowed if images are few."""
        trust = max(LEAST_TRUST, cloth.images / ENOUGH_IMAGES) if self.per == "image" else 1.0
        return self.allowed_on(cloth) * min(1.0, trust)

    def check(self, cloth: ClothAmount, left_out: str = "") -> None:
        """See that an amount of calibration cloth supports the promise.

        Args:
            left_out: what was left out of it and why, in words.
        Raises:
            DatasetError: naming what is missing, and what the cloth supports.
        """
        allowed = self.allowed_on(cloth)
        if allowed >= LEAST_ALLOWED:
            return
        units = cloth.units(self.per)
        needed = LEAST_ALLOWED / self.false_alarms
        missing = amount_text(needed - units, self.per)
        supports = f" It supports {self.least_text(cloth)}." if units else ""
        but = f" (left out: {left_out})" if left_out else ""
        raise DatasetError(
            f"{amount_text(units, self.per)} of clean cloth{but} cannot support the promise of "
            f"{self.text()}: {missing} more are missing.{supports}",
            f"Teach on {amount_text(needed, self.per)} or more, or ask for a higher rate.",
        )

    def least(self, cloth: ClothAmount) -> float:
        """Return the lowest rate that an amount supports, rounded up to two digits."""
        return rounded_up(LEAST_ALLOWED / cloth.units(self.per))

    def least_text(self, cloth: ClothAmount) -> str:
        """Return the lowest promise that an amount of cloth supports."""
        return Budget(self.least(cloth), self.per).text()

    def text(self) -> str:
        """Return the promise in words."""
        alarms = "false alarm" if self.false_alarms == 1 else "false alarms"
        return f"at most {self.false_alarms:g} {alarms} per {'m²' if self.per == 'm2' else self.per}"


def amount_text(units: float, per: Unit) -> str:
    """Return an amount of cloth in words: metres, square metres or images."""
    if per == "image":
        images = ceil(units - 1e-9)
        return counted(images, "image")
    value = units * 100 if per == "100 m" else units
    digits = 1 if value < 100 else 0
    return f"{value:.{digits}f} {'m' if per == '100 m' else 'm²'}".replace(".0 ", " ")


def rounded_up(value: float) -> float:
    """Round a positive number up to two significant digits."""
    step = 10.0 ** (floor(log10(value)) - 1)
    return round(ceil(value / step - 1e-9) * step, 12)
