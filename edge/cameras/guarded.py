"""Guard a `cv2.VideoCapture` so that it may be closed while another thread hangs in a read."""

from __future__ import annotations

import threading
from typing import Any

import cv2
from numpy.typing import NDArray


class GuardedCapture:
    """Keep `release` away from a running `read`: freed under a reading thread, OpenCV ends the process.

    Reads come from one thread. `close` may come from another; it does not wait for a read that hangs:
    the reading thread then releases the device when the read comes back.

    Args:
        capture: opened; from here on only this object touches it.
    """

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture: cv2.VideoCapture | None = capture
        self._busy = threading.Lock()
        self._closing = False

    def read(self) -> tuple[NDArray[Any] | None, float]:
        """Return the next frame and its time in the stream.

        Returns:
            The frame as OpenCV gives it, or None; milliseconds, 0 where the source knows no time.
        """
        with self._busy:
            if self._capture is None:
                return None, 0.0
            ok, array = self._capture.read()
            time_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC) if ok else 0.0
        if self._closing:
            self._release_if_idle()
        return (array if ok else None), time_ms

    def get(self, property_id: int) -> float:
        """Return a property, 0 once closed."""
        with self._busy:
            return self._capture.get(property_id) if self._capture is not None else 0.0

    def close(self) -> None:
        """Release the device now, or let the read that is under way do it."""
        self._closing = True  # before the attempt: a read that ends in between sees it
        self._release_if_idle()

    def _release_if_idle(self) -> None:
        if not self._busy.acquire(blocking=False):
            return
        try:
            if self._capture is not None:
                self._capture.release()
                self._capture = None
        finally:
            self._busy.release()
