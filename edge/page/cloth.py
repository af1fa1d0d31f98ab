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
from edge.core.labelled_boxes import SMALLEST_TEXT_PX, draw_detections
from edge.page.frames import JPEG_QUALITY
from edge.page.live import InspectedBlock

WIDEST_PX = 800
SHORTEST_S = 0.2
"""At most five images a second are encoded, however many people look."""

JOINT_PX = 24
"""A box that ends so near to the joint of two blocks goes on behind it: boxes fall short by up to 18."""

TEXT_OF_WIDTH = 1 / 32
"""The page shows the cloth about 450 px wide at a desk, and 340 px on a phone."""


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

    def jpeg(self, blocks: Sequence[InspectedBlock]) -> ClothJpeg | None:
        """Return an image of some blocks, or the one before if it is not older than `SHORTEST_S`.

        Args:
            blocks: of one width, the oldest first.
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
            image = drawn(blocks, list(self._small.values()))
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


def drawn(blocks: Sequence[InspectedBlock], parts: Sequence[Image]) -> Image:
    """Put blocks one above the other and draw their boxes; a defect in two of them gets one.

    Args:
        blocks: of one width, the oldest first.
        parts: their images, scaled.
    Returns:
        (h, w, 3) uint8, BGR.
    """
    records: list[DetectionRecord] = []
    top_px = 0
    for block, part in zip(blocks, parts, strict=True):
        for record in block.records:
            _add(records, _moved(record, _scale_of(block), top_px), top_px)
        top_px += len(part)
    image = np.concatenate(parts)
    return draw_detections(image, records, max(SMALLEST_TEXT_PX, round(image.shape[1] * TEXT_OF_WIDTH)))


def _add(records: list[DetectionRecord], new: DetectionRecord, joint_px: int) -> None:
    """Add a box, or make one of its class longer that ends at the joint of blocks where this one starts."""
    for old in records:
        if old["label"] == new["label"] and _meet(old["box_xyxy_px"], new["box_xyxy_px"], joint_px):
            (x1, y1, x2, y2), (a1, b1, a2, b2) = old["box_xyxy_px"], new["box_xyxy_px"]
            old["box_xyxy_px"] = [min(x1, a1), min(y1, b1), max(x2, a2), max(y2, b2)]
            old["score"] = max(old["score"], new["score"])
            return
    records.append(new)


def _meet(above: Sequence[float], below: Sequence[float], joint_px: int) -> bool:
    """Say whether two boxes touch a joint from both sides, half of the narrower one at the other one."""
    common = min(above[2], below[2]) - max(above[0], below[0])
    is_near = (
        above[3] >= joint_px - JOINT_PX and below[1] <= joint_px + JOINT_PX
    )  # blocks are seen with a seam
    return is_near and common > 0.5 * min(above[2] - above[0], below[2] - below[0])


def _scale_of(block: InspectedBlock) -> float:
    width: int = block.frame.image.shape[1]
    return min(1.0, WIDEST_PX / max(1, width))


def _moved(record: DetectionRecord, scale: float, top_px: int) -> DetectionRecord:
    left, top, right, bottom = (side * scale for side in record["box_xyxy_px"])
    return {**record, "box_xyxy_px": [left, top + top_px, right, bottom + top_px]}
