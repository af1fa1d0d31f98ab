"""Record the lines of cloth that were delivered and not inspected, and why."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final, NamedTuple

from edge.cameras.protocol import GAP_REASONS, GapReason

MOST_KEPT: Final = 10_000
FORGET_AT_ONCE: Final = 1000
"""A device that runs for months sees more gaps than its memory is for; the roll record has them all."""


class Gap(NamedTuple):
    """Name lines [start, end) that were not inspected."""

    start: int
    end: int
    reason: GapReason


class GapList:
    """Keep disjoint gaps in the order of the roll; neighbours of one reason are one gap.

    The lines of all gaps are counted; of the gaps themselves `forget` keeps the last ones. What lies before
    those does not change any more.

    Attributes:
        changed_from: first line whose state changed since `take_changed`; None if none did.
    """

    def __init__(self) -> None:
        self._gaps: list[Gap] = []
        self._lines = dict.fromkeys(GAP_REASONS, 0)
        self._first_kept = -(2**62)
        self.changed_from: int | None = None

    def __iter__(self) -> Iterator[Gap]:
        return iter(self._gaps)

    def __len__(self) -> int:
        return len(self._gaps)

    def lines_of(self, reason: GapReason) -> int:
        """Count the lines with a reason."""
        return self._lines[reason]

    @property
    def lines(self) -> int:
        """Count all lines in gaps."""
        return sum(self._lines.values())

    def within(self, start: int, end: int) -> list[Gap]:
        """Return the parts of the gaps kept that lie in lines [start, end)."""
        first, last = self._touching(start, end)
        parts = [
            gap._replace(start=max(gap.start, start), end=min(gap.end, end))
            for gap in self._gaps[first:last]
        ]
        return [part for part in parts if part.start < part.end]

    def ending_from(self, line: int) -> list[Gap]:
        """Return the gaps that end at a line or behind it."""
        return self._gaps[bisect_left(self._gaps, line, key=lambda gap: gap.end) :]

    def set(self, start: int, end: int, reason: GapReason) -> None:
        """Make lines [start, end) part of a gap, whatever they were."""
        start = max(start, self._first_kept)
        if start < end:
            self._replace(start, end, [Gap(start, end, reason)])

    def clear(self, start: int, end: int) -> None:
        """Take lines [start, end) out of the gaps: they were inspected after all."""
        if self.within(start, end):
            self._replace(max(start, self._first_kept), end, [])

    def take_changed(self) -> int | None:
        """Return `changed_from` and start again."""
        changed, self.changed_from = self.changed_from, None
        return changed

    def forget(self, most_kept: int = MOST_KEPT) -> None:
        """Keep no more than about so many gaps, and those that changed since `take_changed`."""
        gaps = self._gaps
        if len(gaps) <= most_kept + FORGET_AT_ONCE:
            return
        cut = len(gaps) - most_kept
        if self.changed_from is not None:
            cut = min(cut, bisect_left(gaps, self.changed_from, key=lambda gap: gap.end))
        while cut and gaps[cut].start == gaps[cut - 1].end:  # two that touch change together
            cut -= 1
        if cut:
            self._first_kept = gaps[cut].start
            del gaps[:cut]

    def _replace(self, start: int, end: int, by: list[Gap]) -> None:
        first, last = self._touching(start, end)
        old = self._gaps[first:last]
        left = [gap._replace(end=min(gap.end, start)) for gap in old if gap.start < start]
        right = [gap._replace(start=max(gap.start, end)) for gap in old if gap.end > end]
        new = _joined([*left, *by, *right])
        for gaps, sign in ((old, -1), (new, 1)):
            for gap in gaps:
                self._lines[gap.reason] += sign * (gap.end - gap.start)
        self._gaps[first:last] = new
        self.changed_from = start if self.changed_from is None else min(self.changed_from, start)

    def _touching(self, start: int, end: int) -> tuple[int, int]:
        """Return the range of gaps that overlap lines [start, end) or end or begin at them."""
        first = bisect_left(self._gaps, start, key=lambda gap: gap.end)
        return first, max(first, bisect_right(self._gaps, end, key=lambda gap: gap.start))


def _joined(gaps: list[Gap]) -> list[Gap]:
    """Join neighbours of one reason; empty ones go."""
    joined: list[Gap] = []
    for gap in gaps:
        if gap.start >= gap.end:
            continue
        before = joined[-1] if joined else None
        if before is not None and before.end == gap.start and before.reason == gap.reason:
            joined[-1] = before._replace(end=gap.end)
        else:
            joined.append(gap)
    return joined
