"""Where one block of lines ends and the next begins: what lies across the seam must be seen whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge.cameras.protocol import Frame
from edge.core.detections import Detections
from edge.core.image import Image


class Seam:
    """Carry the last lines of each block over to the one that follows on from it.

    Args:
        lines: how many lines; 0 carries nothing.
    """

    def __init__(self, lines: int) -> None:
        self.lines = lines
        self._tail: Image | None = None
        self._last_frame_id = -1
        self._next_line: int | None = None

    def picture(self, frame: Frame) -> tuple[Image, int]:
        """Put the lines carried over above a frame.

        Returns:
            (lines + H, W) or (lines + H, W, 3) uint8, and how many lines were put above: 0 if the frame
            does not follow on from the one before: that one was dropped, or the cloth jumped or ran back.
        """
        above = self._tail if self._follows_on(frame) else None
        image = frame.image if above is None else np.concatenate([above, frame.image])
        self._last_frame_id = frame.frame_id
        self._next_line = None if frame.position is None else frame.position.first_line + len(frame.image)
        self._tail = image[-self.lines :].copy() if self.lines and frame.follows_on else None
        return image, 0 if above is None else len(above)

    def _follows_on(self, frame: Frame) -> bool:
        return (
            self._tail is not None
            and frame.follows_on
            and frame.frame_id == self._last_frame_id + 1
            and (None if frame.position is None else frame.position.first_line) == self._next_line
            and frame.image.shape[1:] == self._tail.shape[1:]
        )


def on_own_lines(found: Detections) -> Detections:
    """Keep what reaches into a frame's own lines, cut at the first of them.

    Args:
        found: boxes in pixels of the frame; lines carried over have negative rows.
    """
    kept = found.take(found.boxes_xyxy_px[:, 3] > 0)
    boxes = kept.boxes_xyxy_px.copy()
    boxes[:, 1] = np.maximum(boxes[:, 1], 0)
    return replace(kept, boxes_xyxy_px=boxes)
