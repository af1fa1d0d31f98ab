"""Number the places of a contact sheet, from reports of clean cloth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.config.alarm_budget import ClothAmount, Unit
from edge.teach.article_file import SheetPlace
from edge.teach.contact_sheet import MOST_PLACES, crop_of, sheet_png
from edge.teach.looks import SpooledStrip
from edge.teach.reports import NearAlarm
from edge.teach.spool import Views


@dataclass(frozen=True, slots=True)
class Sheet:
    """Hold the places that came nearest to an alarm.

    Attributes:
        places: with their numbers.
        strips: that show them.
        per: unit of their rates.
    """

    places: tuple[SheetPlace, ...]
    strips: tuple[SpooledStrip, ...]
    per: Unit

    @classmethod
    def of(
        cls, places: Sequence[NearAlarm], strips: Sequence[SpooledStrip], per: Unit, amount: ClothAmount
    ) -> Sheet:
        """Number the first places. The n-th would be an alarm at n of them on this much cloth."""
        of_number = {strip.number: strip for strip in strips}
        chosen = [(place, of_number[place.strip]) for place in places[:MOST_PLACES]]
        numbered = [
            SheetPlace(
                number=number,
                source=strip.source,
                frame_id=strip.frame_id,
                box_xyxy_px=place.box_xyxy_px,
                rate=number / amount.units(per),
            )
            for number, (place, strip) in enumerate(chosen, start=1)
        ]
        return cls(tuple(numbered), tuple(strip for _, strip in chosen), per)

    def png(self, spool: Views) -> bytes:
        """Draw the sheet."""
        crops, captions = [], []
        for place, strip in zip(self.places, self.strips, strict=True):
            view = spool.view(strip.number)
            left, top, right, bottom = place.box_xyxy_px
            down = strip.carried_lines
            box = (left, top + down, right, bottom + down)
            crops.append(crop_of(view.image, tuple(side * view.scale for side in box)))  # type: ignore[arg-type]
            captions.append(f"{place.number}: alarm from {place.rate:.3g} per {self.per}")
        return sheet_png(crops, captions)
