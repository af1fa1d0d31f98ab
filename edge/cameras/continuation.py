"""Count frames and metres on where a camera that was opened again starts again."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from edge.cameras.protocol import Frame

SPEED_OVER_S = 10.0
"""The speed of the cloth is that of so many seconds before a failure."""

FRACTION_OF_LAST = 0.1
"""Weight of the last interval in the mean interval of frames."""


class Onward:
    """Give frames numbers and places that go on over all openings of a camera.

    Args:
        starts_again_at_zero: True if the places of the camera begin at 0 whenever it is opened. What passed
            meanwhile is then estimated from the speed before; the places of other cameras are left alone.
    """

    def __init__(self, starts_again_at_zero: bool) -> None:
        self._starts_again_at_zero = starts_again_at_zero
        self._passed: deque[tuple[float, float]] = deque()
        self._last_id = -1
        self._first_id = 0
        self._shift_m = 0.0
        self._is_new = False
        self._interval_s: float | None = None

    def begin_again(self) -> None:
        """Note that the camera was opened again: its next frame is the first of many."""
        self._is_new = True

    def moved(self, frame: Frame, now_s: float) -> Frame:
        """Return a frame under its number and at its place in the run.

        Args:
            frame: as the camera numbers and places it.
            now_s: when it came.
        """
        if self._is_new:
            self._first_id = self._last_id + 1 - frame.frame_id
            self._shift_m = self._shift_for(frame, now_s)
            self._is_new = False
        self._last_id = self._first_id + frame.frame_id
        position = frame.position
        if position is None:
            return replace(frame, frame_id=self._last_id)
        placed = replace(position, along_m=position.along_m + self._shift_m)
        end_m = placed.along_m + len(frame.image) * position.mm_per_px_along / 1000
        self._note(now_s, end_m)
        return replace(frame, frame_id=self._last_id, position=placed)

    def note_interval(self, seconds: float) -> None:
        """Note the time between two frames of a camera that is well."""
        before = self._interval_s if self._interval_s is not None else seconds
        self._interval_s = before + FRACTION_OF_LAST * (seconds - before)

    def frames_in(self, seconds: float) -> int:
        """Estimate how many frames the camera gives in some seconds; 0 before it gave two."""
        return round(seconds / self._interval_s) if self._interval_s else 0

    def _note(self, now_s: float, end_m: float) -> None:
        self._passed.append((now_s, end_m))
        while len(self._passed) > 2 and now_s - self._passed[0][0] > SPEED_OVER_S:
            self._passed.popleft()

    def _shift_for(self, frame: Frame, now_s: float) -> float:
        """Return metres that bring the first frame after an opening to where the cloth is by its speed."""
        if frame.position is None or not self._starts_again_at_zero or not self._passed:
            return self._shift_m
        (first_s, first_m), (last_s, last_m) = self._passed[0], self._passed[-1]
        speed_m_s = max(0.0, (last_m - first_m) / (last_s - first_s)) if last_s > first_s else 0.0
        mm = frame.position.mm_per_px_along
        length_m = len(frame.image) * mm / 1000
        along_m = last_m + max(0.0, (now_s - last_s) * speed_m_s - length_m)
        self._passed.clear()
        return round(along_m * 1000 / mm) * mm / 1000 - frame.position.along_m
