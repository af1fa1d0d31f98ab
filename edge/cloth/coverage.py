"""Count how much of the delivered cloth was inspected. "0 defects" without coverage is not a result."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from edge.cameras.protocol import GAP_REASONS, Frame, FramePosition, GapReason
from edge.cloth.gaps import Gap, GapList
from edge.cloth.mask import Mask
from edge.cloth.sums import CoverageSums, Passed
from edge.cloth.width import ViewWidth, strip_of


class GapOnRoll(NamedTuple):
    """Name a stretch of the roll that was not inspected, in metres."""

    start_m: float
    end_m: float
    reason: GapReason

    def as_json(self) -> dict[str, str | float]:
        """Return it for a summary."""
        return {
            "start_m": round(self.start_m, 6),
            "end_m": round(self.end_m, 6),
            "reason": self.reason,
        }


class Coverage(Passed):
    """Account for every line of a roll, in whole lines: inspected, or part of a gap with its reason.

    Lines are counted from the first one that passed; what lies before it belongs to no roll, or to the one
    before. Lines that pass again, because frames overlap or the cloth ran back, are counted once; a gap
    that passes again and is inspected then is none any more. A camera that knows no position is counted in
    frames.

    Attributes:
        first_line: of the roll, as the camera counts.
        reached_line: behind the last one that passed.
        view: which strip of the cloth was seen on the lines that were inspected.
    """

    def __init__(self) -> None:
        self.frames_inspected = 0
        self.frames_dropped = 0
        self.frames_unreadable = 0
        self.frames_without_cloth = 0
        self.frames_dark = 0
        self.frames_down = 0
        self.seconds_down = 0.0
        self.gap_list = GapList()
        self.view = ViewWidth()
        self.mm_per_line: float | None = None
        self.first_line = 0
        self.reached_line = 0

    def passed(
        self,
        frame: Frame,
        cloth_lines: Mask | None = None,
        cloth_columns: tuple[float, float] | None = None,
    ) -> list[Gap]:
        """Count a frame that was looked at; lines between it and what was reached before are a gap.

        Args:
            frame: in the order of capture.
            cloth_lines: (H,) bool, which of its lines show cloth and were inspected; None for all.
            cloth_columns: first and last-plus-one column of the cloth; None for all.
        Returns:
            The gaps, or parts of them, that this frame closed: cloth that ran back and was inspected.
        """
        if cloth_lines is None or cloth_lines.any():
            self.frames_inspected += 1
        else:
            self.frames_without_cloth += 1
        if frame.position is None:
            return []
        start, end = self._reach(frame.position, frame.image.shape[0], frame.missing_before)
        inspected = self.lines_inspected
        filled: list[Gap] = []
        for run_start, run_end, is_cloth in _runs(cloth_lines, start, end):
            if is_cloth:
                filled += self.gap_list.within(run_start, run_end)
                self.gap_list.clear(run_start, run_end)
                self.reached_line = max(self.reached_line, run_end)
            else:
                self._without_cloth(run_start, run_end)
        strip = strip_of(frame.position, frame.image.shape[1], cloth_columns)
        self.view.add(strip, max(0, self.lines_inspected - inspected))
        return [gap for gap in filled if gap.reason != "no cloth"]

    def missed(
        self,
        position: FramePosition,
        lines: int,
        reason: GapReason,
        before: GapReason = "lost lines",
    ) -> None:
        """Count lines that passed and were not looked at, for instance those of a dropped frame.

        Args:
            position: of the first of them.
            lines: how many, in lines of that position.
            reason: why.
            before: why lines between them and what was reached are missing, if any are.
        """
        start, end = self._reach(position, lines, before)
        fresh = max(start, self.reached_line)
        self.gap_list.set(fresh, end, reason)
        self.reached_line = max(self.reached_line, end)

    @property
    def gaps(self) -> list[GapOnRoll]:
        """All gaps with a place, in the order of the roll."""
        m = self.m_per_line
        return [GapOnRoll(gap.start * m, gap.end * m, gap.reason) for gap in self.gap_list]

    @property
    def lines_unplaced(self) -> int:
        """Lines of images that could not be read: they passed, but nobody knows where.

        Such an image has no length; it is taken to be as long as the others on average.
        """
        seen = self.frames_inspected + self.frames_without_cloth
        known = self.reached_line - self.first_line - self._lines_lost
        return round(self.frames_unreadable * known / seen) if seen else 0

    @property
    def lines_delivered(self) -> int:
        """Lines that passed: exactly those inspected and those in gaps."""
        return self.reached_line - self.first_line + self.lines_unplaced

    @property
    def lines_inspected(self) -> int:
        """Lines that passed and were inspected."""
        return self.reached_line - self.first_line - self.gap_list.lines

    def gap_lines(self, reason: GapReason) -> int:
        """Count the lines in gaps of one reason."""
        unplaced = self.lines_unplaced if reason == "unreadable" else 0
        return self.gap_list.lines_of(reason) + unplaced

    def dark(self, frame: Frame) -> None:
        """Count a frame that was not inspected because there was no light to see by."""
        self.frames_dark += 1
        if frame.position is not None:
            self.missed(frame.position, len(frame.image), "lamp", frame.missing_before)

    def away(self, seconds: float, frames: int) -> None:
        """Count for how long a camera was away, and how many frames it would have given in that time.

        Where the position is known, the lines between what was reached and the next frame say what passed.
        """
        self.seconds_down += seconds
        self.frames_down += frames

    def sums(self) -> CoverageSums:
        """Return the counts as they stand."""
        return CoverageSums(
            self.frames_inspected,
            self.frames_dropped,
            self.frames_unreadable,
            self.frames_without_cloth,
            self.frames_dark,
            self.frames_down,
            self.seconds_down,
            self.mm_per_line,
            self.lines_inspected,
            {reason: lines for reason in GAP_REASONS if (lines := self.gap_lines(reason))},
        )

    def following(self) -> Coverage:
        """Return the account of the roll that begins behind the last line of this one."""
        after = Coverage()
        after.mm_per_line = self.mm_per_line
        after.first_line = after.reached_line = self.reached_line
        return after

    @property
    def _lines_lost(self) -> int:
        return self.gap_list.lines - self.gap_list.lines_of("no cloth")

    def _reach(self, position: FramePosition, lines: int, reason: GapReason) -> tuple[int, int]:
        """Place lines on the roll, after making a gap of what lies between them and what was reached.

        Returns:
            First and last-plus-one line, from the first line of the roll on.
        """
        if self.mm_per_line is None:
            self.mm_per_line = position.mm_per_px_along
            self.first_line = self.reached_line = position.first_line
        scale = position.mm_per_px_along / self.mm_per_line
        start = position.first_line if scale == 1 else round(position.along_m * 1000 / self.mm_per_line)
        end = start + round(lines * scale)
        if start > self.reached_line:
            self.gap_list.set(self.reached_line, start, reason)
            self.reached_line = start
        return max(start, self.first_line), max(end, self.first_line)

    def _without_cloth(self, start: int, end: int) -> None:
        """Make a gap of lines that show no cloth, but for those inspected when they passed before."""
        for gap in self.gap_list.within(start, min(end, self.reached_line)):
            self.gap_list.set(gap.start, gap.end, "no cloth")
        self.gap_list.set(max(start, self.reached_line), end, "no cloth")
        self.reached_line = max(self.reached_line, end)


def _runs(cloth_lines: Mask | None, start: int, end: int) -> list[tuple[int, int, bool]]:
    """Cut lines [start, end) into runs with and without cloth.

    Args:
        cloth_lines: (H,) bool for the rows of a frame whose last one ends at line `end`; None if all show
            cloth. Rows before `start` do not count; rows of another scale are spread evenly.
    """
    if cloth_lines is None or start >= end:
        return [(start, end, True)] if start < end else []
    rows = len(cloth_lines)
    flags = (
        cloth_lines[rows - (end - start) :] if end - start <= rows else _spread(cloth_lines, end - start)
    )
    edges = [0, *(np.flatnonzero(flags[1:] != flags[:-1]) + 1).tolist(), len(flags)]
    return [(start + left, start + right, bool(flags[left])) for left, right in pairwise(edges)]


def _spread(cloth_lines: Mask, count: int) -> Mask:
    return np.asarray(cloth_lines[np.arange(count) * len(cloth_lines) // count], np.bool_)
