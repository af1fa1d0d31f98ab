"""Draw the moving cloth: the last blocks with boxes, small enough for a phone."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from edge.core.detections import DetectionRecord
from edge.core.image import Image
from edge.page.frames import JPEG_QUALITY
from edge.page.live import InspectedBlock
from edge.sinks.images import draw_detections

WIDEST_PX = 800
SHORTEST_S = 0.2
"""At most five images a second are encoded, however many people look."""


class ClothJpeg(NamedTuple):
    """Hold a JPEG, and the number of the block it ends with."""

    number: int
    data: bytes


class ClothImage:
    """Encode the last blocks when asked, once for all who ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: ClothJpeg | None = None
        self._encoded_s = 0.0
        self._small: dict[int, Image] = {}

    def jpeg(self, blocks: Sequence[InspectedBlock], class_names: Sequence[str]) -> ClothJpeg | None:
        """Return an image of some blocks, or the one before if it is not older than `SHORTEST_S`.

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
            self._small = {block.number: self._scaled(block) for block in blocks}
            image = drawn(blocks, list(self._small.values()), class_names)
            ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            if not ok:
                raise ValueError("OpenCV cannot encode the cloth as JPEG")
            self._encoded_s, self._last = now_s, ClothJpeg(number, data.tobytes())
            return self._last

    def _scaled(self, block: InspectedBlock) -> Image:
        """Return a block scaled; each is in several images and scaled once."""
        known = self._small.get(block.number)
        return scaled(block) if known is None else known


def scaled(block: InspectedBlock) -> Image:
    """Return the image of a block, at most `WIDEST_PX` wide."""
    image = block.frame.image
    scale = _scale_of(block)
    size_wh = (max(1, round(image.shape[1] * scale)), max(1, round(len(image) * scale)))
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), np.uint8)


def drawn(
    blocks: Sequence[InspectedBlock], parts: Sequence[Image], class_names: Sequence[str] = ()
) -> Image:
    """Put blocks one above the other and draw their boxes.

    Args:
        blocks: of one width, the oldest first.
        parts: their images, scaled.
        class_names: give each class its colour.
    Returns:
        (h, w, 3) uint8, BGR.
    """
    records: list[DetectionRecord] = []
    top_px = 0
    for block, part in zip(blocks, parts, strict=True):
        records += [_moved(record, _scale_of(block), top_px) for record in block.records]
        top_px += len(part)
    return draw_detections(np.concatenate(parts), records, class_names)


def _scale_of(block: InspectedBlock) -> float:
    width: int = block.frame.image.shape[1]
    return min(1.0, WIDEST_PX / max(1, width))


def _moved(record: DetectionRecord, scale: float, top_px: int) -> DetectionRecord:
    left, top, right, bottom = (side * scale for side in record["box_xyxy_px"])
    return {**record, "box_xyxy_px": [left, top + top_px, right, bottom + top_px]}
