"""Cameras that a process of their own is started for: each fails in its way."""

from __future__ import annotations

import os
import signal
import time

import numpy as np

from edge.cameras.protocol import Frame, FramePosition, NoFrameYetError
from edge.core.errors import CameraNotFoundError, ImageError

FRAMES_BEFORE = 5


class ChildCamera:
    """Count frames; after some of them do what it is told."""

    name = "child"
    is_live = True

    def __init__(self, then, size_hw=(48, 64)):
        self._then = then
        self._size_hw = size_hw
        self._count = 0
        self.counters = {"lost": 0}

    def __enter__(self):
        if self._then == "absent":
            raise CameraNotFoundError("There is no camera child.", "Plug it in.")
        if self._then == "hang at start":
            time.sleep(600)
        return self

    def __exit__(self, *_):
        pass

    def read(self):
        number = self._count
        self._count += 1
        if number >= FRAMES_BEFORE:
            self._fail()
        height, width = self._size_hw
        image = np.random.default_rng(number).integers(60, 200, (height, width), np.uint8)
        image[1, 1] = number % 256
        self.counters["lost"] = number
        place = FramePosition(number, 0.5, 0.25, 3.0)
        return Frame(number, image, time.monotonic(), "x", place, counter=number)

    def _fail(self):
        if self._then == "hang":
            time.sleep(600)
        if self._then == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self._then == "stand":
            time.sleep(0.05)
            raise NoFrameYetError
        if self._then == "bad" and self._count == FRAMES_BEFORE + 1:
            raise ImageError("child has the shape (0, 64).", "Look.")


def open_child(then="go on", size_hw=(48, 64)):
    return ChildCamera(then, tuple(size_hw))
