"""Capture beside inspection: a thread reads the camera into a bounded queue."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType

from typing_extensions import Self

from edge.cameras.protocol import Camera, Frame
from edge.errors import ImageError
from edge.latency import StageClock

logger = logging.getLogger(__name__)

MOST_UNREADABLE_SHOWN = 10
"""Unreadable pictures named one by one; after that they are only counted."""

JOIN_TIMEOUT_S = 5.0
"""A device that does not come back within this time is left to its thread: the run ends without it."""


class Capture:
    """Read a camera ahead of inspection.

    A file or folder waits while the queue is full and loses nothing. A live camera cannot wait: the oldest
    frame in the queue is dropped and counted.

    Args:
        camera: already entered.
        queue_frames: most frames that wait.
        stop: set from outside to end the stream; frames already queued are not delivered.
        clock: counts the time each read takes, as stage `capture`.
    """

    def __init__(self, camera: Camera, queue_frames: int, stop: threading.Event, clock: StageClock) -> None:
        self._camera = camera
        self._limit = queue_frames
        self._stop = stop
        self._clock = clock
        self._queue: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._deadline_s: float | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._read_all, name="capture", daemon=True)
        self.dropped = 0
        self.unreadable = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(JOIN_TIMEOUT_S)
        if self._thread.is_alive():
            logger.warning("the camera %s does not come back from a read; left behind", self._camera.name)

    def end_by(self, monotonic_s: float) -> None:
        """Deliver no frame after this time, also if the camera never delivers another one."""
        self._deadline_s = monotonic_s

    def frames(self) -> Iterator[Frame]:
        """Yield frames in the order of capture.

        Raises:
            LoomsightError: what the camera raised, after the frames before it were delivered.
        """
        while (frame := self._next()) is not None:
            yield frame
        if self._error is not None:
            raise self._error

    def _next(self) -> Frame | None:
        with self._changed:
            while not self._queue and not self._ended and not self._is_over():
                self._changed.wait(0.2)
            if self._is_over() or not self._queue:
                return None
            frame = self._queue.popleft()
            self._changed.notify_all()
            return frame

    def _is_over(self) -> bool:
        late = self._deadline_s is not None and time.monotonic() >= self._deadline_s
        return late or self._stop.is_set()

    def _read_all(self) -> None:
        try:
            while not self._stop.is_set() and (frame := self._read()) is not None:
                self._put(frame)
        # The thread's own failure belongs to the reader of the queue, whatever it is.
        except Exception as error:  # noqa: BLE001
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _read(self) -> Frame | None:
        """Read past pictures that cannot be read, counting them."""
        while True:
            try:
                with self._clock.stage("capture"):
                    return self._camera.read()
            except ImageError as error:
                self.unreadable += 1
                if self.unreadable <= MOST_UNREADABLE_SHOWN:
                    logger.warning("skipped: %s", error)

    def _put(self, frame: Frame) -> None:
        with self._changed:
            if self._camera.is_live:
                while len(self._queue) >= self._limit:
                    self._queue.popleft()
                    self.dropped += 1
            else:
                while len(self._queue) >= self._limit and not self._stop.is_set():
                    self._changed.wait(0.2)
            self._queue.append(frame)
            self._changed.notify_all()
