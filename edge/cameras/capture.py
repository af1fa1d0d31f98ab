"""Capture beside inspection: read the camera in a thread, into a bounded queue."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from typing_extensions import Self

from edge.cameras.protocol import (
    Camera,
    CutShortError,
    DroppedFrames,
    Frame,
    MissedFramesError,
    NoFrameYetError,
)
from edge.cameras.recovering import MOST_BAD_FRAMES
from edge.core.errors import CameraLostError, ImageError
from edge.core.latency import StageClock
from edge.process.supervised import HelperThread, described

logger = logging.getLogger(__name__)

MOST_UNREADABLE_SHOWN = 10
"""Unreadable images named one by one; after that they are only counted."""

WAIT_STEP_S = 0.2
"""How often a wait looks whether it is to end, and tells how long it has lasted."""

SILENCE_WARNING_S = 10.0
"""First warning of a silent camera. A line camera is silent legitimately while its loom stands."""

NEXT_SILENCE_WARNING_S = 300.0
"""No second warning before this time, also if the camera delivered in between."""

MOST_MARKS = 64
"""Moments that are told apart among frames dropped together; more are asked for by nobody."""

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
        on_silence: called every `WAIT_STEP_S` while no frame comes, with the seconds since the last.
    """

    def __init__(
        self,
        camera: Camera,
        queue_frames: int,
        stop: threading.Event,
        clock: StageClock,
        on_silence: Callable[[float], None] | None = None,
    ) -> None:
        self._camera = camera
        self._limit = queue_frames
        self._stop = stop
        self._is_left = False
        self._clock = clock
        self._on_silence = on_silence
        self._queue: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._deadline_s: float | None = None
        self._error: BaseException | None = None
        self._bad_in_a_row = 0
        self._last_frame_s = time.monotonic()
        self._warned_s = -NEXT_SILENCE_WARNING_S
        self._thread = HelperThread("capture", self._read_all, stop)
        self._dropped_frames: deque[DroppedFrames] = deque()
        self._last_id = -1
        self._marks: deque[int] = deque(maxlen=MOST_MARKS)
        self.dropped = 0
        self.unreadable = 0

    def __enter__(self) -> Self:
        self._last_frame_s = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self._is_left = True
            self._changed.notify_all()
        self._thread.join(JOIN_TIMEOUT_S)
        if self._thread.is_alive():
            logger.warning("the camera %s does not come back from a read; left behind", self._camera.name)

    @property
    def waiting(self) -> int:
        """Frames that are read and not yet taken."""
        return len(self._queue)

    def end_by(self, monotonic_s: float) -> None:
        """Deliver no frame after this time, also if the camera never delivers another one."""
        self._deadline_s = monotonic_s

    def mark(self) -> int:
        """Note this moment: frames dropped before it are told apart from those dropped after it.

        Returns:
            Number of the last frame that was captured before; -1 for none. May be called by any thread.
        """
        with self._changed:
            self._marks.append(self._last_id)
            return self._last_id

    def take_dropped(self, before: int | None = None) -> list[DroppedFrames]:
        """Return, once, which frames were dropped, in the order of capture.

        Args:
            before: only those captured before the frame of this number; None for all.
        """
        taken = []
        with self._changed:
            while self._dropped_frames and (
                before is None or self._dropped_frames[0].last_frame_id < before
            ):
                taken.append(self._dropped_frames.popleft())
        return taken

    def wait(self) -> bool:
        """Wait a moment for a frame, or the end of the stream; tells the observer if neither has come."""
        if self._waits_in_vain():
            self._tell_silence(time.monotonic() - self._last_frame_s)
            return False
        return True

    def frames(self) -> Iterator[Frame]:
        """Yield frames in the order of capture.

        Raises:
            LoomsightError: what the camera raised, after the frames before it were delivered.
        """
        while (frame := self._next()) is not None:
            yield frame
        if isinstance(self._error, CutShortError):
            self.unreadable += self._error.frames_missing
        if self._error is not None:
            raise self._error

    @property
    def has_next(self) -> bool:
        """True if the next frame, or the end, is there: nobody has to wait for it."""
        with self._changed:
            return bool(self._queue) or self._ended or self._is_over()

    def _next(self) -> Frame | None:
        while not self.wait():
            pass
        with self._changed:
            if self._is_over() or not self._queue:
                return None
            frame = self._queue.popleft()
            self._changed.notify_all()
            return frame

    def _waits_in_vain(self) -> bool:
        """Wait a moment for a frame; True if neither a frame nor an end has come."""
        with self._changed:
            return not self._changed.wait_for(
                lambda: self._queue or self._ended or self._is_over(), WAIT_STEP_S
            )

    def _tell_silence(self, silent_s: float) -> None:
        """Tell the observer, and now and then the log. The lock is free: neither holds up the camera."""
        if self._on_silence is not None:
            self._on_silence(silent_s)
        now_s = time.monotonic()
        if silent_s >= SILENCE_WARNING_S and now_s - self._warned_s >= NEXT_SILENCE_WARNING_S:
            self._warned_s = now_s
            logger.warning("the camera %s has given no frame for %.0f s", self._camera.name, silent_s)

    def _is_over(self) -> bool:
        late = self._deadline_s is not None and time.monotonic() >= self._deadline_s
        return late or self._is_to_end()

    def _is_to_end(self) -> bool:
        return self._is_left or self._stop.is_set()

    def _read_all(self) -> None:
        try:
            while not self._is_to_end() and (frame := self._read()) is not None:
                self._put(frame)
        # The thread's own failure belongs to the reader of the queue, whatever it is.
        except BaseException as error:  # noqa: BLE001
            panic = f"The driver of the camera {self._camera.name} failed: {described(error)}."
            is_usual = isinstance(error, Exception)
            self._error = error if is_usual else CameraLostError(panic, "Check the camera.")
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _read(self) -> Frame | None:
        """Read past images that cannot be read, counting them.

        Raises:
            CameraLostError: if a live camera gives nothing else any more.
        """
        start_ns = time.perf_counter_ns()
        while not self._is_to_end():
            try:
                frame = self._camera.read()
            except NoFrameYetError:
                continue
            except MissedFramesError as missed:
                self._miss(missed.dropped)
                continue
            except ImageError as error:
                self._skip(error)
            else:
                self._bad_in_a_row = 0
                self._clock.add("capture", (time.perf_counter_ns() - start_ns) / 1e6)
                return frame
            start_ns = time.perf_counter_ns()
        return None

    def _skip(self, error: ImageError) -> None:
        self.unreadable += 1
        self._bad_in_a_row += 1
        if self.unreadable <= MOST_UNREADABLE_SHOWN:
            logger.warning("skipped: %s", error)
        gives_up = self._camera.is_live and self._camera.health is None
        if gives_up and self._bad_in_a_row >= MOST_BAD_FRAMES:
            raise CameraLostError(
                f"The camera {self._camera.name} gave {self._bad_in_a_row} unusable frames in a row, "
                f"the last one: {error.problem}",
                error.cure,
            ) from error

    def _put(self, frame: Frame) -> None:
        with self._changed:
            if self._camera.is_live:
                while len(self._queue) >= self._limit:
                    self._drop(self._queue.popleft())
            else:
                while len(self._queue) >= self._limit and not self._is_to_end():
                    self._changed.wait(0.2)
            self._queue.append(frame)
            self._last_id = frame.frame_id
            self._last_frame_s = time.monotonic()
            self._changed.notify_all()

    def _miss(self, dropped: DroppedFrames) -> None:
        """Count what a recording says was dropped when it was made."""
        with self._changed:
            self.dropped += dropped.frames
            self._dropped_frames.append(dropped)
            self._last_id = dropped.last_frame_id

    def _drop(self, frame: Frame) -> None:
        """Count a frame that nobody will look at; what follows on from the one before is one entry."""
        self.dropped += 1
        last = self._dropped_frames[-1] if self._dropped_frames else None
        is_marked = last is not None and last.last_frame_id in self._marks
        if last is not None and not is_marked and _follows(last, frame):
            last.frames += 1
            last.lines += len(frame.image)
            last.last_frame_id = frame.frame_id
        else:
            self._dropped_frames.append(
                DroppedFrames(
                    1, frame.position, len(frame.image), frame.frame_id, missing_before=frame.missing_before
                )
            )


def _follows(last: DroppedFrames, frame: Frame) -> bool:
    if frame.frame_id != last.last_frame_id + 1:
        return False
    if frame.position is None or last.position is None:
        return frame.position is last.position
    return (
        frame.position.mm_per_px_along == last.position.mm_per_px_along
        and frame.position.first_line == last.position.first_line + last.lines
    )
