from __future__ import annotations

import threading

import numpy as np
import pytest

from edge.cameras.protocol import Frame
from edge.capture import Capture
from edge.errors import CameraLostError, ImageError
from edge.latency import StageClock


class ScriptedCamera:
    """Deliver what a list says: a number is a frame, an exception is raised."""

    name = "scripted"

    def __init__(self, script, is_live=False):
        self.is_live = is_live
        self._script = iter(script)

    def read(self):
        step = next(self._script, None)
        if isinstance(step, Exception):
            raise step
        return None if step is None else Frame(step, np.zeros((2, 2), np.uint8), 0.0, self.name)


def capture_of(camera, queue_frames=3, stop=None):
    return Capture(camera, queue_frames, stop or threading.Event(), StageClock())


def test_a_file_waits_and_loses_nothing():
    with capture_of(ScriptedCamera(range(500)), queue_frames=2) as capture:
        assert [frame.frame_id for frame in capture.frames()] == list(range(500))
    assert capture.dropped == 0


def test_a_live_camera_drops_the_oldest_and_counts_it():
    capture = capture_of(ScriptedCamera(range(100), is_live=True))
    with capture:
        capture._thread.join(5)
        assert [frame.frame_id for frame in capture.frames()] == [97, 98, 99]
    assert capture.dropped == 97


def test_unreadable_pictures_are_counted_and_passed_over():
    script = [0, ImageError("x is truncated.", "Replace it."), 2]
    with capture_of(ScriptedCamera(script)) as capture:
        assert [frame.frame_id for frame in capture.frames()] == [0, 2]
    assert capture.unreadable == 1


@pytest.mark.parametrize("error", [CameraLostError("gone.", "Plug it in."), MemoryError("no memory")])
def test_what_the_camera_raises_comes_after_the_frames_before_it(error):
    seen = []
    with capture_of(ScriptedCamera([0, 1, error])) as capture, pytest.raises(type(error)):
        seen.extend(frame.frame_id for frame in capture.frames())
    assert capture._error is error


def test_a_stop_ends_a_stream_that_waits():
    stop = threading.Event()
    blocked = threading.Event()

    class Blocking(ScriptedCamera):
        def read(self):
            blocked.wait(5)

    with capture_of(Blocking([]), stop=stop) as capture:
        threading.Timer(0.1, stop.set).start()
        assert list(capture.frames()) == []
        blocked.set()
