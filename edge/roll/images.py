"""Cut images of the defects of a roll out of saved frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from edge.core.errors import ImageError
from edge.core.image import Image
from edge.core.image_file import read_image
from edge.core.palette import class_colour
from edge.roll.contents import DefectRow, Roll

MOST_IMAGES = 500
"""The worst defects are shown first; a page of thousands of images opens in no browser."""

AROUND_PX = 48

LEAST_FRAMED_PX = 208
"""Side of a cut with a frame around its defect: so much cloth shows what is not as it should be."""

LONGEST_IMAGE_PX = 480

JPEG_QUALITY = 85

THINNEST_PX = 8
"""A defect is not shrunk below so many pixels: of a longer one the middle is shown."""


def images_of(roll: Roll, small: Mapping[str, bytes] | None = None) -> dict[int, bytes | None]:
    """Return number of a defect -> JPEG with a frame around it, for those that have an image, worst first.

    None where the image is gone or unreadable. At most `MOST_IMAGES`.

    Args:
        roll: as the record has it.
        small: id of a defect -> JPEG that the record has, too: for those without another.
    """
    kept = small or {}
    numbered = enumerate(roll.defects, start=1)
    shown = [(number, row) for number, row in numbered if row.image or row.event_id in kept]
    worst = sorted(shown, key=lambda item: (-item[1].points, -item[1].defect.score))
    return {
        number: cut_image(row, is_framed=True) or kept.get(row.event_id)
        for number, row in worst[:MOST_IMAGES]
    }


def cut_image(row: DefectRow, *, is_framed: bool = False) -> bytes | None:
    """Cut a defect and what is around it out of its image.

    Args:
        row: of the defect.
        is_framed: draw a frame in the colour of the class around it.
    Returns:
        A JPEG of at most 480 pixels a side; None if the image is gone or unreadable.
    """
    if row.image is None or row.box_xyxy_px is None:
        return None
    try:
        image = read_image(Path(row.image))
    except ImageError:
        return None
    return jpeg_around(image, row.box_xyxy_px, row.defect.class_name if is_framed else None)


def jpeg_around(
    image: Image, box_xyxy_px: tuple[float, float, float, float], framed_as: str | None = None
) -> bytes | None:
    """Cut a box and what is around it out of an image.

    Args:
        image: (H, W) grey or (H, W, 3) BGR, uint8.
        box_xyxy_px: in it.
        framed_as: class in whose colour a frame is drawn around the box; None for no frame.
    Returns:
        A JPEG of at most 480 pixels a side; None if the box lies outside of the image.
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (round(side) for side in box_xyxy_px)
    longest, least = _longest_cut_px(x2 - x1, y2 - y1), 0 if framed_as is None else LEAST_FRAMED_PX
    left, right = _cut_span(x1, x2, width, (least, longest))
    top, bottom = _cut_span(y1, y2, height, (least, longest))
    cut = image[top:bottom, left:right]
    if not cut.size:
        return None
    scale = min(1.0, LONGEST_IMAGE_PX / max(cut.shape[:2]))
    size_wh = (max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale)))
    shown = np.asarray(cv2.resize(cut, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
    if framed_as is not None:
        sides = (x1 - left, y1 - top, x2 - left, y2 - top)
        shown = _framed(shown, tuple(round(side * scale) for side in sides), class_colour(framed_as).bgr)
    ok, data = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes() if ok else None


def _longest_cut_px(width_px: int, height_px: int) -> int:
    """Return how long a cut may be before its defect gets too thin to be seen."""
    return max(LONGEST_IMAGE_PX, LONGEST_IMAGE_PX * min(width_px, height_px) // THINNEST_PX)


def _cut_span(low: int, high: int, end: int, lengths: tuple[int, int]) -> tuple[int, int]:
    """Return first and last-plus-one pixel of a cut along one axis, of a length within limits."""
    length = min(max(high - low + 2 * AROUND_PX, lengths[0]), lengths[1])
    first = (low + high - length) // 2
    return max(0, first), min(end, first + length)


def _framed(image: Image, box_xyxy_px: tuple[int, ...], colour_bgr: tuple[int, int, int]) -> Image:
    """Draw a thin frame some pixels off a box, so that it covers nothing of it."""
    coloured = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image.copy())
    left, top, right, bottom = box_xyxy_px
    cv2.rectangle(coloured, (left - 6, top - 6), (right + 6, bottom + 6), colour_bgr, 2)
    return coloured
