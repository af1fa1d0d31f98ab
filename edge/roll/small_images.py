"""Keep a small image of each defect in the roll record: its report has images wherever it is made."""

from __future__ import annotations

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from typing_extensions import Self

from edge.cameras.protocol import Frame
from edge.cloth.defects import ClothDefect
from edge.core.detections import DetectionRecord
from edge.process.supervised import OptionalWork
from edge.roll.images import jpeg_around
from edge.roll.reading import look_into
from edge.roll.reviews import has_table

MOST_OF_A_FRAME: Final = 16
"""The surest of a frame; a stretch in tatters has hundreds, and each costs a millisecond."""

MOST_WAITING: Final = 1000
"""Images of defects that still grow, or that became part of others; the oldest make room."""

NEAR_PX: Final = 1.0
"""The box of a detection is rounded and cut at its frame; that of the defect it became is neither."""

Box = Sequence[float]


class SmallImages:
    """Cut small images out of frames with detections; they wait to be recorded. A sink."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[tuple[int, int], tuple[Box, bytes]] = OrderedDict()
        self._cutting = OptionalWork("small images")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._waiting.clear()

    def write(self, frame: Frame, detections: list[DetectionRecord]) -> None:
        """Cut the surest detections out of a frame."""
        with self._cutting:
            self._cut(frame, detections)

    def _cut(self, frame: Frame, detections: list[DetectionRecord]) -> None:
        surest = sorted(detections, key=lambda one: -one["score"])[:MOST_OF_A_FRAME]
        for number, found in enumerate(surest):
            left, top, right, bottom = found["box_xyxy_px"]
            data = jpeg_around(frame.image, (left, top, right, bottom), found["label"])
            if data is not None:
                self._waiting[frame.frame_id, number] = (found["box_xyxy_px"], data)
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popitem(last=False)

    def of(self, defect: ClothDefect) -> bytes | None:
        """Return the JPEG of a defect, as it was seen best; None if there is none."""
        if defect.seen is None:
            return None
        for number in range(MOST_OF_A_FRAME):
            kept = self._waiting.get((defect.seen.frame_id, number))
            if kept is not None and _is_near(kept[0], defect.seen.box_xyxy_px):
                return kept[1]
        return None


def _is_near(detected: Box, seen: Box) -> bool:
    left, top, right, bottom = seen  # it may begin on lines carried over from the frame before
    cut = (left, max(0.0, top), right, bottom)
    return all(abs(side - other) <= NEAR_PX for side, other in zip(detected, cut, strict=True))


def small_images_of(records: Iterable[Path], roll_id: str) -> dict[str, bytes]:
    """Return id of a defect -> JPEG for those of a roll that have a small image; damaged ones are left out.

    Args:
        records: of the cameras beside each other.
        roll_id: of the roll; of several cameras joined by `+`.
    Raises:
        RecordError: if a record cannot be read.
    """
    found: dict[str, bytes] = {}
    for path, one in zip(records, roll_id.split("+"), strict=True):
        found |= look_into(path, lambda db, one=one: _read(db, one))  # type: ignore[misc]
    return found


def with_small_image(db: sqlite3.Connection, event_ids: Iterable[str]) -> set[str]:
    """Return those of some defects that have a small image in an open record."""
    if not has_table(db, "small_images"):
        return set()
    query = "SELECT event_id FROM small_images WHERE event_id IN (SELECT value FROM json_each(?))"
    return {event_id for (event_id,) in db.execute(query, (json.dumps(list(event_ids)),))}


def small_image(db: sqlite3.Connection, event_id: str) -> bytes | None:
    """Return the small image of a defect in an open record; None without a sound one."""
    if not has_table(db, "small_images"):
        return None
    row = db.execute("SELECT jpeg FROM small_images WHERE event_id = ?", (event_id,)).fetchone()
    return row[0] if row is not None and _is_image(row[0]) else None


def _read(db: sqlite3.Connection, roll_id: str) -> dict[str, bytes]:
    if not has_table(db, "small_images"):
        return {}
    query = "SELECT event_id, jpeg FROM small_images JOIN defects USING (event_id) WHERE roll_id = ?"
    return {event_id: data for event_id, data in db.execute(query, (roll_id,)) if _is_image(data)}


def _is_image(data: object) -> bool:
    """Tell whether a cell holds an image that can be shown."""
    if not isinstance(data, bytes) or not data.startswith(b"\xff\xd8"):
        return False
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8) is not None
