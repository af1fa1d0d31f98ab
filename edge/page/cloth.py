"""The moving cloth as a picture: the last blocks with boxes, small enough for a phone."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from edge.detections import DetectionRecord
from edge.image import Image
from edge.page.live import Block
from edge.sinks.pictures import draw_detections

WIDEST_PX = 960
SHORTEST_S = 0.2
"""At most five pictures a second are encoded, however many people look."""

JPEG_QUALITY = 70


class ClothJpeg(NamedTuple):
    """A JPEG, and the number of the block it ends with."""

    number: int
    data: bytes


class ClothPicture:
    """Encode the last blocks when asked, once for all who ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: ClothJpeg | None = None
        self._encoded_s = 0.0

    def jpeg(self, blocks: Sequence[Block], class_names: Sequence[str]) -> ClothJpeg | None:
        """Return a picture of some blocks, or the one before if it is not older than `SHORTEST_S`.

        Args:
            blocks: of one width, the oldest first.
            class_names: give each class its colour.
        Returns:
            None if there is no block.
        """
        if not blocks:
            return None
        with self._lock:
            number, now_s = blocks[-1].number, time.monotonic()
            old = self._last
            if old is not None and (old.number == number or now_s - self._encoded_s < SHORTEST_S):
                return old
            image = drawn(blocks, class_names)
            ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            if not ok:
                raise ValueError("OpenCV cannot encode the cloth as JPEG")
            self._encoded_s, self._last = now_s, ClothJpeg(number, data.tobytes())
            return self._last


def drawn(blocks: Sequence[Block], class_names: Sequence[str] = ()) -> Image:
    """Put blocks one above the other and draw their boxes.

    Returns:
        (h, w, 3) uint8, BGR, at most `WIDEST_PX` wide.
    """
    scale = min(1.0, WIDEST_PX / max(1, blocks[0].frame.image.shape[1]))
    parts: list[Image] = []
    records: list[DetectionRecord] = []
    top_px = 0
    for block in blocks:
        image = block.frame.image
        size_wh = (max(1, round(image.shape[1] * scale)), max(1, round(len(image) * scale)))
        parts.append(np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), np.uint8))
        records += [_moved(record, scale, top_px) for record in block.records]
        top_px += size_wh[1]
    return draw_detections(np.concatenate(parts), records, class_names)


def _moved(record: DetectionRecord, scale: float, top_px: int) -> DetectionRecord:
    left, top, right, bottom = (side * scale for side in record["box_xyxy_px"])
    return {**record, "box_xyxy_px": [left, top + top_px, right, bottom + top_px]}
