"""Recognise what comes again and again at the same ends of the warp: one place, reported once.

A streak of the warp, or the repeat of a pattern, looks a little like a defect wherever it passes. Each time
by itself it may be one; many times at the very same ends it is one thing to look at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from edge.cloth.defects import ClothDefect
from edge.cloth.one_report import REACH_MM

RECURS_M = 2.0
"""What comes again comes within so many metres of the last time. Measured on the simulated rolls of
docs/benchmarks/demo.md at lowered thresholds: 44 of 45 distances were at most 1.12 m."""

RECURS_TIMES = 3
"""So many times in a row are no chance; no two real defects of those rolls lay so."""

OWN_SCORE = 0.7
"""What scores so high is a defect each time. On those rolls what came again scored 0.67 at most."""

WIDEST_PART = 0.5
"""What is broader than this ratio of the view has the same ends by nature: a pick lies across the cloth."""

MOST_PLACES = 1000
"""Places that are watched at once; beyond, nothing new is. Bounds memory and time on cloth in tatters."""


@dataclass(frozen=True, slots=True)
class Recurrence:
    """Say what comes again and again.

    Attributes:
        first: the one that is reported.
        times: that it was seen, the first one included.
        end_m: where the last one ended.
        has_ended: False where it is seen to recur, True where it has not come again for `RECURS_M`.
    """

    first: ClothDefect
    times: int
    end_m: float
    has_ended: bool


@dataclass(slots=True)
class _Place:
    first: ClothDefect
    last: ClothDefect
    times: int = 1


@dataclass(slots=True)
class Recurring:
    """Sift the complete defects of a roll.

    Attributes:
        folded: defects that are not reported, as they are a place that was.
        news: recurrences that began or ended, until they are taken.
        again: what is not reported, each behind the time before, until it is taken.
    """

    folded: int = 0
    news: list[Recurrence] = field(default_factory=list)
    again: list[tuple[ClothDefect, ClothDefect]] = field(default_factory=list)
    _places: list[_Place] = field(default_factory=list)

    @property
    def held(self) -> list[ClothDefect]:
        """Defects that came a second time: whether they are reported shows within `RECURS_M`."""
        return [place.last for place in self._places if place.times == RECURS_TIMES - 1]

    def sift(
        self, complete: Sequence[ClothDefect], passed_m: float, view_mm: float | None
    ) -> list[ClothDefect]:
        """Return what is to be reported.

        Args:
            complete: defects, in any order.
            passed_m: everything before it has been seen.
            view_mm: width that the camera sees; None if that is not known: then nothing recurs.
        """
        reported = self._expired(passed_m)
        for defect in sorted(complete, key=lambda one: (one.start_m, one.left_mm, one.class_name)):
            if view_mm is None or not _may_recur(defect, view_mm):
                reported.append(defect)
            else:
                reported += self._take_in(defect)
        return reported

    def finish(self) -> list[ClothDefect]:
        """Return what was held, at the end of the roll."""
        return self._expired(float("inf"))

    def take_again(self) -> list[tuple[ClothDefect, ClothDefect]]:
        """Return, once, what is not reported, each behind the time before at the same place."""
        again, self.again = self.again, []
        return again

    def take_news(self) -> list[Recurrence]:
        """Return, once, what began or ended to recur."""
        news, self.news = self.news, []
        return news

    def _take_in(self, defect: ClothDefect) -> Iterable[ClothDefect]:
        """Yield what is to be reported of a defect that may be a place seen before."""
        place = next((one for one in self._places if _is_same(one, defect)), None)
        if place is None:
            if len(self._places) < MOST_PLACES:
                self._places.append(_Place(defect, defect))
            return [defect]
        before, place.last, place.times = place.last, defect, place.times + 1
        if place.times == RECURS_TIMES:
            self._fold(place.first, before)
            self._tell(place, has_ended=False)
        if place.times >= RECURS_TIMES:
            self._fold(before, defect)
        return []

    def _fold(self, before: ClothDefect, defect: ClothDefect) -> None:
        self.folded += 1
        self.again.append((before, defect))

    def _expired(self, passed_m: float) -> list[ClothDefect]:
        """Forget places that have not come again, and return what was held of them."""
        over = [place for place in self._places if passed_m - place.last.end_m > RECURS_M]
        self._places = [place for place in self._places if passed_m - place.last.end_m <= RECURS_M]
        for place in over:
            if place.times >= RECURS_TIMES:
                self._tell(place, has_ended=True)
        return [place.last for place in over if place.times == RECURS_TIMES - 1]

    def _tell(self, place: _Place, *, has_ended: bool) -> None:
        self.news.append(Recurrence(place.first, place.times, place.last.end_m, has_ended))


def _may_recur(defect: ClothDefect, view_mm: float) -> bool:
    return defect.score < OWN_SCORE and defect.right_mm - defect.left_mm <= WIDEST_PART * view_mm


def _is_same(place: _Place, defect: ClothDefect) -> bool:
    first = place.first
    return (
        first.class_name == defect.class_name
        and abs(first.left_mm - defect.left_mm) <= REACH_MM
        and abs(first.right_mm - defect.right_mm) <= REACH_MM
        and -RECURS_M <= defect.start_m - place.last.end_m <= RECURS_M
    )
