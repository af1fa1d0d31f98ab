"""Define the values of teaching on the device: its state and its requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from edge.config.alarm_budget import Budget

STARTED: Final = "teaching begun"
GOES_ON: Final = "teaching goes on"
LEARNT: Final = "article learnt"
NOT_LEARNT: Final = "article not learnt"
TAUGHT_AGAIN: Final = "article taught again"
NOT_OPENED: Final = "article not opened"

TeachingRequest = Literal["begin", "cancel"]
"""What a person, or the run itself, may ask for."""


@dataclass(frozen=True, slots=True)
class TeachingNow:
    """Say how far the teaching is.

    Attributes:
        article: its name; None if nobody named it.
        phase: `reading` clean cloth, or `fitting`.
        metres, of_metres: read, and to read.
        least: false alarms per 100 m that the cloth read so far can support; None for none yet.
        is_new: nothing was taught of it before, so nothing stops the machine.
    """

    article: str | None
    phase: Literal["reading", "fitting"]
    metres: float
    of_metres: float
    least: float | None
    is_new: bool

    def text(self) -> str:
        """Return it in words."""
        if self.phase == "fitting":
            return f"{self.metres:.1f} m read, now computing what was learnt"
        so_far = f"{self.metres:.1f} of {self.of_metres:g} m read"
        if self.least is None:
            return so_far
        return f"{so_far}, enough to promise {Budget(self.least, '100 m').text()}"

    def as_json(self) -> dict[str, object]:
        """Return it as plain values."""
        return {
            "article": self.article,
            "phase": self.phase,
            "metres": round(self.metres, 2),
            "of_metres": self.of_metres,
            "would_carry_per_100m": self.least,
        }
