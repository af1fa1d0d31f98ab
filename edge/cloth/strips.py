"""From blocks of a line camera, of whatever height, to strips that always begin at the same lines.

What lies across the seam of two strips must be seen whole: the last lines of one are shown with the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from edge.cameras.protocol import Frame, FramePosition
from edge.core.detections import Detections
from edge.core.image import Image


class Strips:
    """Cut what a line camera with a position delivers into strips of equal height.

    Strips begin at multiples of their height from the first line of the run, so what the network sees, and
    thereby what is found, does not depend on how many lines the camera puts into a block. A strip that a
    jump cuts short is handed out as it is. Frames of other cameras pass as they are.

    Args:
        lines: height of a strip; 0 passes everything as it is.
        last_id: number of the strip before the first one.
    """

    def __init__(self, lines: int, last_id: int = -1) -> None:
        self.lines = lines
        self._origin: int | None = None
        self._parts: list[Frame] = []
        self.last_id = last_id
        self._begins_at = 0
        self._next: tuple[object, ...] | None = None  # line, scale and width of a block that follows on

    def add(self, frame: Frame) -> list[Frame]:
        """Take in a block.

        Returns:
            The strips that it completes; before them what was left in front of a jump. Their `frame_id`
            grows; those of a run without jumps count from 0.
        """
        if frame.position is None or not frame.follows_on or not self.lines:
            return [*self.flush(), frame]
        first = frame.position.first_line
        like = (frame.position.mm_per_px_along, frame.image.shape[1:])
        done = [] if (first, *like) == self._next else self.flush()
        self._next = (first + len(frame.image), *like)
        if self._origin is None:
            self._origin = first
        for start, stop in self._cut(first, first + len(frame.image), self._origin):
            self._begins_at = start if not self._parts else self._begins_at
            self._parts.append(_piece(frame, frame.position, first, start, stop))
            if (stop - self._origin) % self.lines == 0:
                done += self.flush()
        return done

    def flush(self) -> list[Frame]:
        """Hand out what has come of a strip; nothing if nothing has."""
        parts, self._parts = self._parts, []
        if not parts:
            return []
        number = (self._begins_at - (self._origin or 0)) // self.lines
        self.last_id = max(self.last_id + 1, number)
        if len(parts) == 1 and parts[0].frame_id == self.last_id:
            return parts
        image = parts[0].image if len(parts) == 1 else np.concatenate([part.image for part in parts])
        return [replace(parts[0], frame_id=self.last_id, image=image, monotonic_s=parts[-1].monotonic_s)]

    def _cut(self, first: int, end: int, origin: int) -> Iterator[tuple[int, int]]:
        """Cut lines [first, end) where strips begin."""
        inner = range(first + 1 + (origin - first - 1) % self.lines, end, self.lines)
        return pairwise([first, *inner, end])


def strips_of(frames: Iterable[Frame], lines_at: Callable[[float | None], int]) -> Iterator[Frame]:
    """Yield frames as they are inspected: those of a line camera as strips of one height.

    Args:
        lines_at: gives the height of a strip from the millimetres per pixel of the first frame.
    """
    strips: Strips | None = None
    for frame in frames:
        strips = strips or Strips(lines_at(frame.mm_per_px_across))
        yield from strips.add(frame)
    yield from strips.flush() if strips else []


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

    def image(self, frame: Frame) -> tuple[Image, int]:
        """Put the lines carried over above a frame.

        Returns:
            (lines + H, W) or (lines + H, W, 3) uint8, and how many lines were put above: 0 if the frame
            does not follow on from the one before: that one was dropped, or the cloth jumped or ran back.
        """
        line = None if frame.position is None else frame.position.first_line
        above = self._tail if self._follows_on(frame, line) else None
        image = frame.image if above is None else np.concatenate([above, frame.image])
        self._last_frame_id = frame.frame_id
        self._next_line = None if line is None else line + len(frame.image)
        self._tail = image[-self.lines :].copy() if self.lines and frame.follows_on else None
        return image, 0 if above is None else len(above)

    def _follows_on(self, frame: Frame, line: int | None) -> bool:
        return (
            self._tail is not None
            and frame.follows_on
            and frame.frame_id == self._last_frame_id + 1
            and line == self._next_line
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


def _piece(frame: Frame, position: FramePosition, first: int, start: int, stop: int) -> Frame:
    """Return lines [start, stop) of a block that begins at line `first`."""
    if start == first:  # its place to the last bit, wherever it ends
        return (
            frame if stop == first + len(frame.image) else replace(frame, image=frame.image[: stop - first])
        )
    mm_per_line = position.mm_per_px_along
    beside = round(position.along_m * 1000 / mm_per_line - first, 6)  # 0 where lines are counted
    moved = replace(position, along_m=(start + beside) * mm_per_line / 1000)
    return replace(frame, image=frame.image[start - first : stop - first], position=moved)
