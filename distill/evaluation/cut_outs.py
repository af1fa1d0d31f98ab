"""Cut windows out of images at true size and draw boxes in them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge.core.detections import Detections
from edge.core.image import Image
from edge.core.palette import INK, class_colour

WINDOW_PX = 160
"""Side of a window: two of them stand beside each other on a phone."""

Window = tuple[int, int, int, int]


def window_around(box_xyxy_px: Sequence[float], size_hw_px: tuple[int, int]) -> Window:
    """Return a window around the middle of a box that lies inside the image, x1, y1, x2, y2.

    At the border of an image it is moved inwards: nothing that is not in the image is shown.
    """
    x1, y1, x2, y2 = box_xyxy_px
    left, right = _inside((x1 + x2) / 2, size_hw_px[1])
    top, bottom = _inside((y1 + y2) / 2, size_hw_px[0])
    return left, top, right, bottom


def _inside(middle: float, size: int) -> tuple[int, int]:
    length = min(WINDOW_PX, size)
    start = min(max(round(middle - length / 2), 0), size - length)
    return start, start + length


def cut_out(image: Image, window: Window, detections: Detections, names: Sequence[str]) -> Image:
    """Cut a window out and draw the boxes in it, each in the colour of its class with a dark rim.

    Returns:
        (H, W, 3) BGR; a pixel of the image is one of the window.
    """
    left, top, right, bottom = window
    part = image[top:bottom, left:right]
    drawn = cv2.cvtColor(part, cv2.COLOR_GRAY2BGR) if part.ndim == 2 else part.copy()
    for box, class_id in zip(detections.boxes_xyxy_px, detections.class_ids.tolist(), strict=True):
        x1, y1, x2, y2 = (round(float(side)) for side in box - (left, top, left, top))
        for grow, ink in ((3, INK.bgr), (2, class_colour(names[class_id]).bgr)):
            cv2.rectangle(drawn, (x1 - grow, y1 - grow), (x2 + grow - 1, y2 + grow - 1), ink, 1)
    return np.asarray(drawn, np.uint8)
