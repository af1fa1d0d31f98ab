"""Leave outliers out of the clean cloth: on the loom no person strikes them out.

A person would look at it first on the contact sheet. Left in, one defect would raise the level beyond all
that are as weak.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from edge.config.alarm_budget import ClothAmount, Unit
from edge.reference.second_look import ReferenceView
from edge.teach.article_file import SheetPlace
from edge.teach.keeping import Box, not_in, without
from edge.teach.looks import SpooledStrip
from edge.teach.reports import NearAlarm, standing_out
from edge.teach.spool import Views

ROUNDS: Final = 2
"""What stands out shows others that do."""

MOST_RATIO: Final = 0.05
"""Of the strips: where more places stand out, the cloth is as it is, and its level with it."""


@dataclass(slots=True, eq=False)
class StruckViews:
    """Images without the places that were left out.

    Attributes:
        views: with them.
        boxes: number of a strip -> places in it, in pixels of its frame.
    """

    views: Views
    strips: Sequence[SpooledStrip]
    boxes: dict[int, list[Box]] = field(default_factory=lambda: defaultdict(list))

    def view(self, number: int) -> ReferenceView:
        """Return an image; where a place was is no cloth."""
        view = self.views.view(number)
        for box in self.boxes.get(number, ()):
            view = without(view, box, self.strips[number].carried_lines)
        return view

    def strike(self, places: Sequence[NearAlarm]) -> None:
        """Leave out places, also where other strips show them: their carried lines, frames that overlap."""
        for place in places:
            origin = self.strips[place.strip]
            for strip in self._beside(origin):
                down_px = _lines_between(origin, strip)
                left, top, right, bottom = place.box_xyxy_px
                self.boxes[strip.number].append((left, top + down_px, right, bottom + down_px))

    def without_places(self) -> tuple[SpooledStrip, ...]:
        """Return the strips without what the detector saw there."""
        return tuple(self._without_places(strip) for strip in self.strips)

    def _without_places(self, strip: SpooledStrip) -> SpooledStrip:
        found = strip.found
        for box in self.boxes.get(strip.number, ()):
            found = not_in(found, box)
        return replace(strip, found=found)

    def _beside(self, origin: SpooledStrip) -> Sequence[SpooledStrip]:
        if origin.position is None:
            return [origin]
        return self.strips[max(0, origin.number - 1) : origin.number + 2]


def _lines_between(origin: SpooledStrip, other: SpooledStrip) -> float:
    """Return how many lines further down a place of one strip lies in another one."""
    if origin.position is None or other.position is None:
        return 0.0
    return (origin.position.along_m - other.position.along_m) * 1000 / origin.position.mm_per_px_along


def far_places(places: Sequence[NearAlarm], strips: int) -> Sequence[NearAlarm]:
    """Return the places that stand far out of the others; none, if they are too many to be defects."""
    count = standing_out(places)
    return places[:count] if count <= max(1, MOST_RATIO * strips) else ()


def numbered(
    places: Sequence[NearAlarm], strips: Sequence[SpooledStrip], per: Unit, amount: ClothAmount
) -> tuple[SheetPlace, ...]:
    """Return places as an article file names what was left out."""
    return tuple(
        SheetPlace(
            number=number,
            source=strips[place.strip].source,
            frame_id=strips[place.strip].frame_id,
            box_xyxy_px=place.box_xyxy_px,
            rate=number / amount.units(per),
        )
        for number, place in enumerate(places, start=1)
    )
