"""Draw the places of the clean cloth that came nearest to an alarm, numbered, on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from edge.config.alarm_budget import ClothAmount, Unit
from edge.core.errors import OutputError
from edge.core.image import Image
from edge.core.labelled_boxes import draw_text
from edge.core.palette import MARK, PAPER
from edge.teach.article_file import SheetPlace
from edge.teach.looks import SpooledStrip
from edge.teach.reports import NearAlarm
from edge.teach.spool import Views

CELL_PX: Final = 224
TEXT_PX: Final = 26
COLUMNS: Final = 4
MOST_PLACES: Final = 16
LEAST_SIDE_PX: Final = 96
"""Of the cloth that is shown around a place."""

AROUND: Final = 1.6
"""Times the longer side of a place."""


def crop_of(image: Image, box_xyxy_px: tuple[float, float, float, float]) -> Image:
    """Cut a place out of its image, with cloth around it and a frame, as a square of `CELL_PX`.

    Args:
        image: (H, W) grey or (H, W, 3) BGR, uint8.
        box_xyxy_px: in its pixels.
    Returns:
        (CELL_PX, CELL_PX, 3) BGR.
    """
    left, top, right, bottom = box_xyxy_px
    side = max(LEAST_SIDE_PX, AROUND * max(right - left, bottom - top))
    x1, y1 = (left + right - side) / 2, (top + bottom - side) / 2
    scale = CELL_PX / side
    move = np.array([[scale, 0, -x1 * scale], [0, scale, -y1 * scale]], np.float64)
    grey = image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    cell = cv2.warpAffine(grey, move, (CELL_PX, CELL_PX), flags=cv2.INTER_AREA, borderValue=PAPER.bgr)
    corners = [
        (round((x - x1) * scale), round((y - y1) * scale)) for x, y in ((left, top), (right, bottom))
    ]
    cv2.rectangle(cell, *_widened(corners), MARK.bgr, 2)
    return np.asarray(cell, np.uint8)


def sheet_png(crops: Sequence[Image], captions: Sequence[str]) -> bytes:
    """Put numbered crops on one sheet.

    Args:
        crops: of `crop_of`, at most `MOST_PLACES`.
        captions: one of each, short.
    Returns:
        A PNG; a sheet that says so, if there is no place.
    """
    rows = max(1, -(-len(crops) // COLUMNS))
    sheet = np.full((rows * (CELL_PX + TEXT_PX), COLUMNS * CELL_PX, 3), PAPER.bgr, np.uint8)
    for number, (crop, caption) in enumerate(zip(crops, captions, strict=True)):
        y, x = number // COLUMNS * (CELL_PX + TEXT_PX), number % COLUMNS * CELL_PX
        sheet[y + TEXT_PX : y + TEXT_PX + CELL_PX, x : x + CELL_PX] = crop
        draw_text(sheet, caption, (x + 6, y + 4))
    if not crops:
        draw_text(sheet, "nothing came near to an alarm", (6, 4))
    done, data = cv2.imencode(".png", sheet)
    if not done:
        raise OutputError("The contact sheet cannot be encoded.", "Run edge-doctor.")
    return bytes(data)


def _widened(corners: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Keep the frame off the place itself."""
    (x1, y1), (x2, y2) = corners
    return (x1 - 3, y1 - 3), (x2 + 3, y2 + 3)


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
