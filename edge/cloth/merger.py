"""Merge the pieces of defects that consecutive frames show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf

from edge.cloth.defects import TOUCH_MM, ClothDefect
from edge.cloth.kinds import settled
from edge.cloth.one_report import groups, one_report, reports, waits_mm
from edge.cloth.recurring import Recurring

MOST_WAITING = 256
"""Complete defects that may wait for one that grows; beyond, the oldest are reported as they are. Bounds
memory and time where a whole stretch of cloth is in tatters."""


class DefectMerger:
    """Make one defect of the pieces that consecutive frames show of it.

    A defect stays open while the cloth that passes could still add to it, so a warp yarn missing for
    metres is one defect that grows. Parts of different classes are put together when all of them are
    complete: whether a yarn crosses a wrinkle or lies in it shows at its end.

    Args:
        touch_mm: pieces closer than this are one defect.
        begins_m: what lies before this place belongs to an earlier roll; None if nothing does.
    Attributes:
        recurring: keeps what comes again and again at the same ends from being reported each time.
    """

    def __init__(self, touch_mm: float = TOUCH_MM, begins_m: float | None = None) -> None:
        self._touch_mm = touch_mm
        self._open: list[ClothDefect] = []
        self._waiting: list[ClothDefect] = []
        self._view_mm: float | None = None
        self.recurring = Recurring()
        self._settled_m = -inf if begins_m is None else begins_m

    @property
    def growing(self) -> tuple[ClothDefect, ...]:
        """Defects that what comes may add to, and complete ones that are not reported yet."""
        return (*self.recurring.held, *self._waiting, *self._open)

    def add(
        self,
        pieces: Sequence[ClothDefect],
        passed_m: float,
        filled: Sequence[tuple[float, float]] = (),
        goes_back: bool = False,
        view_mm: float | None = None,
    ) -> list[ClothDefect]:
        """Take in the pieces of one frame.

        Cloth that runs back and forward again shows its defects again: what lies where defects were
        completed before is left out, but for stretches that were a gap until now.

        Args:
            pieces: what the frame shows.
            passed_m: everything above it has been seen for the last time, if the cloth goes on.
            filled: stretches (start, end) of the frame that passed unseen before.
            goes_back: True if the frame lies before the last one: then nothing is complete.
            view_mm: width that the frame shows; None if that does not matter.
        Returns:
            Defects that are complete: nothing that comes can be part of them.
        """
        for piece in pieces:
            for part in self._unseen(piece, filled):
                self._take_in(part)
        self._settled_m, self._view_mm = max(self._settled_m, passed_m), view_mm
        if goes_back:
            return []
        horizon_m = passed_m - self._touch_mm / 1000
        closed = [defect for defect in self._open if defect.end_m < horizon_m]
        self._open = [defect for defect in self._open if defect.end_m >= horizon_m]
        complete = [settled(one) for one in self._complete(closed, passed_m)]
        return self.recurring.sift(complete, passed_m, view_mm)

    def finish(self) -> list[ClothDefect]:
        """Return what is still open, at the end of the roll."""
        last, self._open, self._waiting = [*self._waiting, *self._open], [], []
        complete = [settled(one) for one in reports(last)]
        return [*self.recurring.sift(complete, -inf, self._view_mm), *self.recurring.finish()]

    def _complete(self, closed: list[ClothDefect], passed_m: float) -> list[ClothDefect]:
        """Return reports of what has no part that is still open; the rest waits."""
        if not closed and not self._waiting:
            return []
        ended = [*self._waiting, *closed]
        all_of_them, complete, self._waiting = [*ended, *self._open], [], []
        for group in groups(all_of_them):
            members = [all_of_them[one] for one in group]
            may_go_on = any(passed_m < one.end_m + waits_mm(one) / 1000 for one in members)
            if max(group) < len(ended) and not may_go_on:
                complete.append(one_report(members))
            else:
                self._waiting += [all_of_them[one] for one in group if one < len(ended)]
        over = len(self._waiting) - MOST_WAITING
        if over > 0:
            complete, self._waiting = [*complete, *reports(self._waiting[:over])], self._waiting[over:]
        return complete

    def _unseen(self, piece: ClothDefect, filled: Sequence[tuple[float, float]]) -> list[ClothDefect]:
        """Return what of a piece lies where defects are not complete yet."""
        if piece.start_m >= self._settled_m:
            return [piece]
        parts = [
            replace(piece, start_m=max(piece.start_m, start_m), end_m=min(piece.end_m, end_m))
            for start_m, end_m in [*filled, (self._settled_m, inf)]
        ]
        return [part for part in parts if part.start_m < part.end_m]

    def _take_in(self, piece: ClothDefect) -> None:
        apart = []
        for defect in self._open:
            if _is_more_of(defect, piece) and defect.touches(piece, self._touch_mm):
                piece = piece.joined(defect)
            else:
                apart.append(defect)
        grew = len(apart) < len(self._open)
        self._open = apart
        if grew:
            self._take_in(piece)
        else:
            self._open.append(piece)


def _is_more_of(defect: ClothDefect, piece: ClothDefect) -> bool:
    """Tell whether a piece that touches a defect adds to it: unclassified lines that cross are two."""
    crosses = {defect.shape, piece.shape} == {"warp line", "weft line"}
    return defect.class_name == piece.class_name and not crosses
