"""Keep what the reference sees of clean cloth in the spool, without the places that were struck out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from edge.core.contract import ModelContract
from edge.core.detections import Detections
from edge.reference.second_look import ReferenceView, strip_view
from edge.teach.article_file import SheetPlace
from edge.teach.looks import SpooledStrip
from edge.teach.reading import CleanStrip
from edge.teach.spool import Spool

Box = tuple[float, float, float, float]

STRUCK_MARGIN_PX: Final = 24
"""Around a place that a person left out nothing is fitted or judged: a defect reaches beyond its box."""


@dataclass(slots=True, eq=False)
class Keeper:
    """Keep strips as they come.

    Args:
        contract: of the detector, for its scale.
        margin_mm: nearer to a selvedge, or to an edge of the cloth, nothing is looked at.
        spool: takes the images.
        struck_out: places that a person left out.
    """

    contract: ModelContract
    margin_mm: float
    spool: Spool
    struck_out: Sequence[SheetPlace] = ()
    mm_per_px: float | None = None
    width_px: int = 0

    def keep(self, strip: CleanStrip) -> SpooledStrip:
        """Keep a strip."""
        frame = strip.frame
        view = strip_view(strip.image, strip.prepared.mask, frame, self.contract, self.margin_mm)
        found = strip.found
        for place in self.struck_out:
            if place.frame_id == frame.frame_id and place.source == frame.source:
                view = without(view, place.box_xyxy_px, strip.carried_lines)
                found = not_in(found, place.box_xyxy_px)
        own_mm = frame.mm_per_px_across
        self.mm_per_px = own_mm / view.scale if own_mm else None
        self.width_px = view.image.shape[1]
        return SpooledStrip(
            self.spool.add(view),
            frame.source,
            frame.frame_id,
            frame.position,
            strip.carried_lines,
            found,
            strip.amount,
        )


def without(view: ReferenceView, box_xyxy_px: Box, carried_lines: int) -> ReferenceView:
    """Take a place, in pixels of its frame, out of the cloth of a view."""
    height, width = view.image.shape[:2]
    is_cloth = np.ones((height, width), np.bool_) if view.is_cloth is None else view.is_cloth.copy()
    left, top, right, bottom = (side * view.scale for side in box_xyxy_px)
    down = carried_lines * view.scale
    rows = slice(
        max(0, int(top + down) - STRUCK_MARGIN_PX), max(0, int(bottom + down) + 1 + STRUCK_MARGIN_PX)
    )
    columns = slice(max(0, int(left) - STRUCK_MARGIN_PX), max(0, int(right) + 1 + STRUCK_MARGIN_PX))
    is_cloth[rows, columns] = False
    return replace(view, is_cloth=is_cloth)


def not_in(found: Detections, box_xyxy_px: Box) -> Detections:
    """Leave out detections that touch a place."""
    left, top, right, bottom = box_xyxy_px
    boxes = found.boxes_xyxy_px
    touches = (
        (boxes[:, 0] <= right) & (boxes[:, 2] >= left) & (boxes[:, 1] <= bottom) & (boxes[:, 3] >= top)
    )
    return found.take(~touches)
