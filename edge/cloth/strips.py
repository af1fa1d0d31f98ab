"""From blocks of a line camera, of whatever height, to strips that always begin at the same lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from edge.cameras.protocol import Frame, FramePosition


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
        self._next: tuple[object, ...] | None = None

    def add(self, frame: Frame) -> list[Frame]:
        """Take in a block.

        Returns:
            The strips that it completes; before them what was left in front of a jump. Their `frame_id`
            grows; those of a run without jumps count from 0.
        """
        if frame.position is None or not frame.follows_on or not self.lines:
            return [*self.flush(), frame]
        done = [] if _begin(frame, frame.position) == self._next else self.flush()
        self._next = _end(frame, frame.position)
        if self._origin is None:
            self._origin = frame.position.first_line
        for piece, is_last in self._cut(frame, frame.position, self._origin):
            self._parts.append(piece)
            if is_last:
                done += self.flush()
        return done

    def flush(self) -> list[Frame]:
        """Hand out what has come of a strip; nothing if nothing has."""
        parts, self._parts = self._parts, []
        if not parts:
            return []
        position = parts[0].position
        number = 0 if position is None else (position.first_line - (self._origin or 0)) // self.lines
        self.last_id = max(self.last_id + 1, number)
        image = parts[0].image if len(parts) == 1 else np.concatenate([part.image for part in parts])
        return [replace(parts[0], frame_id=self.last_id, image=image, monotonic_s=parts[-1].monotonic_s)]

    def _cut(self, frame: Frame, position: FramePosition, origin: int) -> list[tuple[Frame, bool]]:
        """Cut a block where strips begin; say of each piece whether a strip ends with it."""
        first, end = position.first_line, position.first_line + len(frame.image)
        inner = range(first + 1 + (origin - first - 1) % self.lines, end, self.lines)
        edges = [first, *inner, end]
        return [
            (_piece(frame, position, start, stop), (stop - origin) % self.lines == 0)
            for start, stop in pairwise(edges)
        ]


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


def _piece(frame: Frame, position: FramePosition, start: int, stop: int) -> Frame:
    """Return lines [start, stop) of a block."""
    first = position.first_line
    if start == first:  # its place to the last bit, wherever it ends
        return (
            frame if stop == first + len(frame.image) else replace(frame, image=frame.image[: stop - first])
        )
    mm_per_line = position.mm_per_px_along
    beside = round(position.along_m * 1000 / mm_per_line - first, 6)  # 0 where lines are counted
    moved = replace(position, along_m=(start + beside) * mm_per_line / 1000)
    return replace(frame, image=frame.image[start - first : stop - first], position=moved)


def _begin(frame: Frame, position: FramePosition) -> tuple[object, ...]:
    """Return what has to be equal where one block follows on from another: line, scale, width."""
    return position.first_line, position.mm_per_px_along, frame.image.shape[1:]


def _end(frame: Frame, position: FramePosition) -> tuple[object, ...]:
    return position.first_line + len(frame.image), position.mm_per_px_along, frame.image.shape[1:]
