"""Show the frames of a finished run one by one: they are read again, so memory does not grow with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import cv2
import numpy as np

from edge.cameras.again import FramesAgain
from edge.cameras.protocol import Frame
from edge.core.detections import DetectionRecord
from edge.core.errors import LoomsightError
from edge.core.labelled_boxes import draw_detections

JPEG_QUALITY = 70

MOST_FOUND: Final = 10_000
"""Frames with detections that are kept, the first ones: some megabytes. Further ones are shown plain."""

WIDEST_PX: Final = 4096
"""A wider frame is sent smaller: a 7 px defect of it can still be seen."""

IS_LIVE: Final = "Frames cannot be looked through again: this camera keeps none."
STILL_RUNS: Final = "Inspection is running: frames can be looked through when it is finished."


class FrameJpeg(NamedTuple):
    """Hold the image of a frame with its boxes, and what the frame is called."""

    data: bytes
    name: str


@dataclass(slots=True)
class FramesSeen:
    """Note what was found on each frame of a run, and give its frames again.

    Attributes:
        again: reads frames; None where they are kept nowhere.
        count: frames up to the last one that was inspected.
        found: number of a frame to what was found on it.
        forgotten: frames with detections beyond `MOST_FOUND`.
    """

    again: FramesAgain | None = None
    count: int = 0
    found: dict[int, tuple[DetectionRecord, ...]] = field(default_factory=dict)
    forgotten: int = 0

    def note(self, frame: Frame, records: list[DetectionRecord]) -> None:
        """Take in an inspected frame. Called by inspection."""
        self.count = max(self.count, frame.frame_id + 1)
        if not records or self.again is None:
            return
        before = self.found.get(frame.frame_id, ())
        if not before and len(self.found) >= MOST_FOUND:
            self.forgotten += 1
            return
        self.found[frame.frame_id] = (*before, *records)

    def as_json(self) -> dict[str, Any]:
        """Return how many frames there are and which show something, or why there is nothing to show."""
        problem = None if self.again else IS_LIVE
        count = self.count if self.again else 0
        return {
            "count": count,
            "found": sorted(self.found),
            "forgotten": self.forgotten,
            "problem": problem,
        }

    def jpeg(self, number: int) -> FrameJpeg:
        """Return a frame with its boxes.

        Raises:
            LoomsightError: if it cannot be read any more.
        """
        if self.again is None or not 0 <= number < self.count:
            raise LoomsightError("There is no such frame.", "Load the page again.")
        image, name = self.again.read(number)
        drawn = draw_detections(image, list(self.found.get(number, ())))
        if drawn.shape[1] > WIDEST_PX:
            height = max(1, round(len(drawn) * WIDEST_PX / drawn.shape[1]))
            small = cv2.resize(drawn, (WIDEST_PX, height), interpolation=cv2.INTER_AREA)
            drawn = np.asarray(small, np.uint8)
        ok, data = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not ok:
            raise ValueError("OpenCV cannot encode the frame as JPEG")
        return FrameJpeg(data.tobytes(), name)
