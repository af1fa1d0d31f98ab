from __future__ import annotations

import threading

import numpy as np
import pytest

from edge.cameras import capture as capture_module
from edge.cameras.capture import MOST_BAD_FRAMES, MOST_UNREADABLE_SHOWN, Capture
from edge.cameras.opencv import GuardedCapture, OpenCvCamera
from edge.cameras.protocol import Camera, CutShortError, Frame
from edge.core.errors import CameraLostError, ImageError
from edge.core.latency import StageClock


class ScriptedCamera(Camera):
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


def capture_of(camera, queue_frames=3, stop=None, on_silence=None):
    return Capture(camera, queue_frames, stop or threading.Event(), StageClock(), on_silence)


BAD = ImageError("x has the shape (0, 5).", "Replace it.")


class HangingDevice:
    """Stand in for a `cv2.VideoCapture` whose driver does not come back from a read until it is
    released."""

    def __init__(self):
        self.in_read = threading.Event()
        self.let_go = threading.Event()
        self.released_by = []

    def isOpened(self):
        return True

    def get(self, property_id):
        return 0.0

    def read(self):
        self.in_read.set()
        assert self.let_go.wait(10)
        assert not self.released_by, "released under the reading thread"
        return True, np.zeros((4, 4, 3), np.uint8)

    def release(self):
        self.released_by.append(threading.current_thread().name)


class HangingCamera(OpenCvCamera):
    def __init__(self):
        super().__init__(0)
        self.device = HangingDevice()

    def _open(self):
        return self.device


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


def test_unreadable_images_are_counted_and_skipped():
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


@pytest.mark.parametrize("is_live", [False, True])
def test_a_stop_ends_a_stream_of_bad_images(is_live):
    stop = threading.Event()

    class AlwaysBad(ScriptedCamera):
        count = 0

        def read(self):
            self.count += 1
            if self.count == 20:
                stop.set()
            raise BAD

    with capture_of(AlwaysBad([], is_live), stop=stop) as capture:
        capture._thread.join(5)
        assert not capture._thread.is_alive()
    assert capture.unreadable == 20


def test_a_live_camera_that_gives_nothing_but_bad_frames_is_lost():
    script = [0] + [BAD] * 10_000
    seen = []
    with (
        capture_of(ScriptedCamera(script, is_live=True)) as capture,
        pytest.raises(CameraLostError, match=f"{MOST_BAD_FRAMES} unusable frames in a row.*the shape"),
    ):
        seen.extend(frame.frame_id for frame in capture.frames())
    assert seen == [0]
    assert capture.unreadable == MOST_BAD_FRAMES


@pytest.mark.parametrize(
    ("script", "is_live"),
    [([*[BAD] * (MOST_BAD_FRAMES - 1), 0] * 3, True), ([*[BAD] * (3 * MOST_BAD_FRAMES), 0], False)],
    ids=["live, now and then a good one", "a folder"],
)
def test_bad_frames_that_end_no_run(script, is_live, caplog):
    with capture_of(ScriptedCamera(script, is_live)) as capture:
        assert {frame.frame_id for frame in capture.frames()} == {0}
    assert capture.unreadable == len([step for step in script if step is BAD])
    assert len(caplog.records) == MOST_UNREADABLE_SHOWN


def test_frames_that_a_recording_lacks_are_counted():
    error = CutShortError("The video ends after 2 of 40 frames.", "Copy it again.", 38)
    with capture_of(ScriptedCamera([0, 1, error])) as capture, pytest.raises(CameraLostError):
        list(capture.frames())
    assert capture.unreadable == 38


def test_a_silent_camera_is_told_and_warned_of_once(monkeypatch, caplog):
    monkeypatch.setattr(capture_module, "WAIT_STEP_S", 0.01)
    monkeypatch.setattr(capture_module, "SILENCE_WARNING_S", 0.05)
    goes_on, told = threading.Event(), []

    class Pausing(ScriptedCamera):
        def read(self):
            frame = super().read()
            if frame is not None and frame.frame_id in (1, 2):
                goes_on.wait(5)
                goes_on.clear()
            return frame

    def on_silence(seconds):
        told.append(seconds)
        if seconds > 0.2:
            goes_on.set()

    with capture_of(Pausing(range(4), is_live=True), on_silence=on_silence) as capture:
        assert [frame.frame_id for frame in capture.frames()] == [0, 1, 2, 3]
    assert max(told) > 0.2
    (warning,) = caplog.records
    assert "scripted has given no frame for" in warning.getMessage()


def test_a_device_is_released_by_the_read_that_hangs_in_it(monkeypatch, caplog):
    monkeypatch.setattr(capture_module, "JOIN_TIMEOUT_S", 0.1)
    camera, stop = HangingCamera(), threading.Event()
    with camera, capture_of(camera, stop=stop) as capture:
        assert camera.device.in_read.wait(5)
        stop.set()
        assert list(capture.frames()) == []
    assert "does not come back" in caplog.text
    assert camera.device.released_by == []
    camera.device.let_go.set()
    capture._thread.join(5)
    assert camera.device.released_by == ["capture"]


def test_a_device_at_rest_is_released_at_once_and_once():
    device = HangingDevice()
    device.let_go.set()
    guarded = GuardedCapture(device)
    assert guarded.read()[0].shape == (4, 4, 3)
    guarded.close()
    guarded.close()
    assert device.released_by == [threading.current_thread().name]
    assert guarded.read() == (None, 0.0)
    assert guarded.get(0) == 0.0


def test_leaving_a_capture_does_not_ask_the_run_to_stop():
    stop = threading.Event()
    with capture_of(ScriptedCamera([]), stop=stop):
        pass
    assert not stop.is_set()
