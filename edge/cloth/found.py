"""Count all defects of a roll, and keep the last of them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from typing_extensions import Self

from edge.cloth.defects import ClothDefect
from edge.cloth.grading import MOST_POINTS_PER_M, points_by_unit

MOST_KEPT = 10_000
"""A device that runs for months finds more than its memory is for; the roll record has them all."""


MOST_PIECES_KEPT = 20_000
"""In tatters of cloth a defect may consist of 64 pieces. Beyond so many in all, new ones are kept as the
rectangle around them."""


class DefectsFound:
    """Take in the complete defects of a roll with `+=`. Iterating gives those kept, the oldest first.

    Args:
        most_kept: beyond so many the oldest are counted only.
    Attributes:
        by_class: how many there were of each.
        origin_m: where the roll begins: its metres, that points are charged to, are counted from there.
    """

    def __init__(self, most_kept: int = MOST_KEPT) -> None:
        self.by_class: Counter[str] = Counter()
        self._kept: deque[ClothDefect] = deque(maxlen=most_kept)
        self._pieces = 0
        self._count = 0
        self._charged: Counter[int] = Counter()
        self.origin_m = 0.0

    def __iadd__(self, defects: Iterable[ClothDefect]) -> Self:
        new = tuple(defects)
        for defect in new:
            self._keep(defect)
        self._count += len(new)
        self.by_class.update(defect.class_name for defect in new)
        on_roll = new if not self.origin_m else tuple(self._moved(defect) for defect in new)
        for metre, points in points_by_unit(on_roll).items():
            self._charged[metre] = min(self._charged[metre] + points, MOST_POINTS_PER_M)
        return self

    def _moved(self, defect: ClothDefect) -> ClothDefect:
        start_m, end_m = defect.start_m - self.origin_m, defect.end_m - self.origin_m
        return replace(defect, start_m=start_m, end_m=end_m)

    def _keep(self, defect: ClothDefect) -> None:
        if len(self._kept) == self._kept.maxlen:
            self._pieces -= len(self._kept.popleft().pieces)
        if self._pieces + len(defect.pieces) > MOST_PIECES_KEPT:
            defect = replace(defect, pieces=())
        self._pieces += len(defect.pieces)
        self._kept.append(defect)

    def __len__(self) -> int:
        """Count all, also those no longer kept."""
        return self._count

    def __iter__(self) -> Iterator[ClothDefect]:
        return iter(self._kept)

    @property
    def forgotten(self) -> int:
        """How many are counted and no longer kept."""
        return self._count - len(self._kept)

    @property
    def points(self) -> int:
        """What all of them are charged; see `edge.cloth.grading`."""
        return self._charged.total()
