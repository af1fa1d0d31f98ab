"""Read one camera from its opening to its failure; a call that does not come back holds up nobody."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from edge.cameras.protocol import Camera, Frame, NoFrameYetError
from edge.core.errors import CameraLostError, ImageError, LoomsightError
from edge.process.supervised import HelperThread, described, note_here

logger = logging.getLogger(__name__)

LEAVE_S = 1.0
"""A read that has not come back so long after its camera was given up is left to its thread."""


Answer = TypeVar("Answer")


class PromptReader:
    """Read a camera whose calls come back within a moment, in the thread that asks; see `ThreadReader`.

    Args:
        open_camera: builds the camera, which is not entered.
        clock: seconds of a clock that never steps.
    """

    is_stuck = False

    def __init__(self, open_camera: Callable[[], Camera], clock: Callable[[], float]) -> None:
        self._open_camera = open_camera
        self._clock = clock
        self.camera: Camera | None = None
        self.opened_s: float | None = None
        self.has_ended = False
        self.sign_s = clock()

    def wait_open(self, wait_s: float) -> bool:
        """Wait a moment until the camera is open; or fails to open; then it is left."""
        try:
            if self.opened_s is None and self._asked(self._opens):
                self.opened_s = self.sign_s = self._clock()
        except BaseException:
            self.leave()
            raise
        return self.opened_s is not None

    def take(self, wait_s: float) -> Frame | None:
        """Return the next frame; None if there is none within a moment, or no more at all."""
        camera = self.camera
        if not self.wait_open(wait_s) or camera is None:
            return None
        try:
            frame = self._asked(camera.read)
        except NoFrameYetError:
            frame = None
        else:
            self.has_ended = frame is None
        self.sign_s = self._clock()
        return frame

    def leave(self) -> None:
        """Give the camera up."""
        if self.camera is not None:
            self.camera.__exit__(None, None, None)

    def _opens(self) -> bool:
        if self.camera is None:
            self.camera = self._open_camera()
            self.camera.start()
        return self.camera.wait_open()

    def _asked(self, ask: Callable[[], Answer]) -> Answer:
        """Ask the camera; an error that nobody foresaw is noted, and opens it again."""
        try:
            return ask()
        except (LoomsightError, NoFrameYetError):
            self.sign_s = self._clock()
            raise
        except Exception as error:
            note_here(error)
            raise _lost(error) from error


class ThreadReader:
    """Read a camera in a thread of its own, which may hang in it. It hands over one frame at a time.

    Args:
        open_camera: builds the camera, which is entered and left in the thread.
        clock: seconds of a clock that never steps.
    """

    def __init__(
        self, open_camera: Callable[[], Camera], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._open_camera = open_camera
        self._clock = clock
        self._changed = threading.Condition()
        self._camera: Camera | None = None
        self._frame: Frame | None = None
        self._error: Exception | None = None
        self._opened_s: float | None = None
        self._has_ended = False
        self._stop = threading.Event()
        self.sign_s = clock()
        self._thread = HelperThread("camera reader", self._run, self._stop)
        self._thread.start()

    @property
    def camera(self) -> Camera | None:
        """The camera; None until it is built."""
        return self._camera

    @property
    def opened_s(self) -> float | None:
        """When the camera was open; None until it is."""
        return self._opened_s

    @property
    def has_ended(self) -> bool:
        """Whether the stream came to its end and all of it was taken."""
        with self._changed:
            return self._has_ended and self._frame is None and self._error is None

    @property
    def is_stuck(self) -> bool:
        """Whether the thread is still there."""
        return self._thread.is_alive()

    def wait_open(self, wait_s: float) -> bool:
        """Wait until the camera is open; False if it is not within that time.

        Raises:
            Exception: what the camera raised instead.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._opened_s is not None or self._has_ended, wait_s)
            if self._error is not None and self._opened_s is None:
                raise self._error
            return self._opened_s is not None

    def take(self, wait_s: float) -> Frame | None:
        """Return the next frame; None if there is none within that time, or no more at all.

        Raises:
            Exception: what the camera raised, each once.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._frame or self._error or self._has_ended, wait_s)
            frame, self._frame = self._frame, None
            error = None
            if frame is None:
                error, self._error = self._error, None
            self._changed.notify_all()
        if error is not None:
            raise error
        return frame

    def leave(self) -> None:
        """Give the camera up. It is closed by its thread, or from here if the thread hangs in it."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(LEAVE_S)
        if self._thread.is_alive() and self._camera is not None:
            logger.debug("%s does not come back; closed from outside", self._camera.name)
            self._camera.__exit__(None, None, None)

    def _run(self) -> None:
        try:
            self._camera = self._open_camera()
            with self._camera as camera:
                self._opened_s = self._clock()
                self._note_sign()
                while not self._stop.is_set() and self._read(camera):
                    pass
        # The thread's own failure belongs to the reader, whatever it is.
        except BaseException as error:  # noqa: BLE001
            self._hand_over(None, self._as_lost(error))
        finally:
            with self._changed:
                self._has_ended = True
                self._changed.notify_all()

    def _as_lost(self, error: BaseException) -> LoomsightError:
        """Return an error of the camera; one that nobody foresaw is noted, and opens it again."""
        if isinstance(error, LoomsightError):
            return error
        self._thread.note(error)
        lost = _lost(error)
        lost.__cause__ = error
        return lost

    def _read(self, camera: Camera) -> bool:
        """Read one frame; False at the end of the stream."""
        try:
            frame = camera.read()
        except NoFrameYetError:
            self._note_sign()
            return True
        except ImageError as error:  # of one image: the camera goes on
            self._hand_over(None, error)
            return True
        if frame is not None:
            self._hand_over(frame, None)
        return frame is not None

    def _note_sign(self) -> None:
        with self._changed:
            self.sign_s = self._clock()
            self._changed.notify_all()

    def _hand_over(self, frame: Frame | None, error: Exception | None) -> None:
        """Wait until what was handed over before is taken, then hand over this."""
        with self._changed:
            self.sign_s = self._clock()
            self._changed.wait_for(
                lambda: self._stop.is_set() or (self._frame is None and self._error is None)
            )
            if not self._stop.is_set():
                self._frame, self._error = frame, error
            self._changed.notify_all()


def _lost(error: BaseException) -> CameraLostError:
    return CameraLostError(f"The driver of the camera failed: {described(error)}.", "Check the camera.")


CameraReader = PromptReader | ThreadReader


def reader_of(
    open_camera: Callable[[], Camera],
    clock: Callable[[], float] = time.monotonic,
    *,
    is_prompt: bool = False,
) -> CameraReader:
    """Begin to open and read a camera: a prompt one in the thread that asks, another in one of its own."""
    return PromptReader(open_camera, clock) if is_prompt else ThreadReader(open_camera, clock)
