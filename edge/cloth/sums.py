"""Derive sums of coverage from counted lines and frames, of one roll or of several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge.cameras.protocol import GapReason


class Passed(ABC):
    """Derive coverage from counted lines and frames; see `edge.cloth.coverage.Coverage`.

    Attributes:
        mm_per_line: length of a line; None where no position is known.
        lines_delivered, lines_inspected: the first are exactly the second and those in gaps.
        frames_dark: frames that were not inspected because the lamp was out.
        frames_down: frames that the camera would have given while it was away, estimated from its rate.
        seconds_down: for how long the camera was away.
    """

    frames_inspected: int
    frames_dropped: int
    frames_unreadable: int
    frames_without_cloth: int
    frames_dark: int
    frames_down: int
    seconds_down: float
    mm_per_line: float | None

    @property
    @abstractmethod
    def lines_delivered(self) -> int:
        """Lines that passed: exactly those inspected and those in gaps."""

    @property
    @abstractmethod
    def lines_inspected(self) -> int:
        """Lines that passed and were inspected."""

    @abstractmethod
    def gap_lines(self, reason: GapReason) -> int:
        """Count the lines in gaps of one reason."""

    def gap_metres(self, reason: GapReason) -> float:
        """Return the metres in gaps of one reason."""
        return self.gap_lines(reason) * self.m_per_line

    @property
    def m_per_line(self) -> float:
        """Metres of cloth per line; 0 where no position is known."""
        return (self.mm_per_line or 0.0) / 1000

    @property
    def metres_inspected(self) -> float:
        """Metres that were inspected."""
        return self.lines_inspected * self.m_per_line

    @property
    def metres_without_cloth(self) -> float:
        """Metres that passed without cloth on them."""
        return self.gap_metres("no cloth")

    @property
    def lost_m(self) -> float:
        """Metres that passed unseen, for whatever reason but that there was no cloth."""
        return self.gap_m - self.metres_without_cloth

    @property
    def gap_m(self) -> float:
        """Metres that passed uninspected, for whatever reason."""
        return (self.lines_delivered - self.lines_inspected) * self.m_per_line

    @property
    def frames_lost(self) -> int:
        """Frames that nobody looked at, though cloth may have passed."""
        return self.frames_dropped + self.frames_unreadable + self.frames_dark + self.frames_down

    @property
    def knows_metres(self) -> bool:
        """Whether any frame had a position."""
        return self.mm_per_line is not None

    @property
    def fraction(self) -> float | None:
        """Fraction of what passed that was inspected, 0..1; None before the first frame."""
        if self.knows_metres:
            return self.lines_inspected / self.lines_delivered if self.lines_delivered else None
        uninspected = self.frames_lost + self.frames_without_cloth
        passed = self.frames_inspected + uninspected
        return self.frames_inspected / passed if passed else None


@dataclass(frozen=True)
class CoverageSums(Passed):
    """Hold counts that do not change any more. Those of lines of one length add up with `+`."""

    frames_inspected: int = 0
    frames_dropped: int = 0
    frames_unreadable: int = 0
    frames_without_cloth: int = 0
    frames_dark: int = 0
    frames_down: int = 0
    seconds_down: float = 0.0
    mm_per_line: float | None = None
    inspected: int = 0
    gaps: Mapping[GapReason, int] = field(default_factory=dict)

    @property
    def lines_inspected(self) -> int:
        """Lines that passed and were inspected."""
        return self.inspected

    @property
    def lines_delivered(self) -> int:
        """Lines that passed: exactly those inspected and those in gaps."""
        return self.inspected + sum(self.gaps.values())

    def gap_lines(self, reason: GapReason) -> int:
        """Count the lines in gaps of one reason."""
        return self.gaps.get(reason, 0)

    def __add__(self, other: CoverageSums) -> CoverageSums:
        return CoverageSums(
            self.frames_inspected + other.frames_inspected,
            self.frames_dropped + other.frames_dropped,
            self.frames_unreadable + other.frames_unreadable,
            self.frames_without_cloth + other.frames_without_cloth,
            self.frames_dark + other.frames_dark,
            self.frames_down + other.frames_down,
            self.seconds_down + other.seconds_down,
            self.mm_per_line if self.mm_per_line is not None else other.mm_per_line,
            self.inspected + other.inspected,
            {
                reason: self.gap_lines(reason) + other.gap_lines(reason)
                for reason in {**self.gaps, **other.gaps}
            },
        )
