"""Hold what a checkpoint reaches on labelled images: every exported model is measured against it."""

from __future__ import annotations

from dataclasses import dataclass

from distill.checkpoint import ValidationTiles

LEAST_TELLING_MAP50_95 = 0.01
"""A checkpoint that reaches less has nothing to lose: a drop says nothing."""


@dataclass(frozen=True, slots=True)
class Yardstick:
    """Say what a checkpoint reaches on a split.

    Attributes:
        map50_95: of the checkpoint.
    """

    validation: ValidationTiles
    map50_95: float

    def drop(self, map50_95: float) -> float | None:
        """Return the mAP50-95 that a model loses; None where there is nothing to lose."""
        return round(self.map50_95 - map50_95, 4) if self.map50_95 >= LEAST_TELLING_MAP50_95 else None
