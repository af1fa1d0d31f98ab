"""A live camera that fails in every way, on a clock of its own."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge.cameras import recovering
from edge.cameras.choose import choose_camera
from edge.cameras.frame_size import TAKEN_AFTER
from edge.cameras.protocol import CameraHungError, Frame, FramePosition, NoFrameYetError
from edge.cameras.recovering import LONGEST_PAUSE_S, MOST_BAD_FRAMES, MOST_BLACK, Patience, RecoveringCamera
from edge.core.errors import CameraLostError, CameraNotFoundError, ConfigError, FrameSizeError, ImageError
from edge.process.supervised import Helpers, watched_by

HW = (32, 48)


class Clock:
    """A clock that goes on only when somebody waits."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s

    def pause(self, seconds):
        self.now_s += seconds


class Device:
    """What stands behind all openings of a camera: frames pass at a rate, whether it is open or not."""

    name = "front"
    is_live = True

    def __init__(self, clock, rate_hz=10.0, with_position=False):
        self.clock = clock
        self.rate_hz = rate_hz
        self.with_position = with_position
        self.at = {}
        self.opened = 0
        self.fails_to_open_until_s = 0.0
        self.count = 0

    def __enter__(self):
        self.opened += 1
        if self.clock() < self.fails_to_open_until_s:
            raise CameraNotFoundError("There is no camera front.", "Plug it in.")
        return self

    def __exit__(self, *_):
        pass

    def read(self):
        self.clock.pause(1 / self.rate_hz)
        number = round((self.clock() - 1000) * self.rate_hz)
        self.count = number
        what = self.at.get(number)
        if isinstance(what, Exception):
            raise what
        if callable(what):
            return what(self.frame(number))
        return self.frame(number)

    def frame(self, number, **more):
        image = np.random.default_rng(number).integers(60, 200, HW, np.uint8)
        position = FramePosition(number * HW[0] / 1000, 1.0, 1.0) if self.with_position else None
        return Frame(number, image, self.clock(), self.name, position, **more)


def frames(camera, count, most_reads=5000):
    """Read until so many frames have come."""
    taken = []
    for _ in range(most_reads):
        if len(taken) == count:
            return taken
        try:
            frame = camera.read()
        except (NoFrameYetError, ImageError):
            continue
        if frame is None:
            return taken
        taken.append(frame)
    raise AssertionError(f"only {len(taken)} frames")


def frames_within(camera, reads):
    """Read so often; return the frames that came."""
    taken = []
    for _ in range(reads):
        with suppress(NoFrameYetError):
            taken.append(camera.read())
    return taken


def kinds(events):
    return [event.kind for event in events]


@pytest.fixture
def clock():
    return Clock()


def recovering_camera(clock, device, **patience):
    return RecoveringCamera("front", lambda: device, Patience(**patience), clock=clock, pause=clock.pause)


LOST = CameraLostError("The camera front stopped delivering.", "Plug it in.")


@pytest.mark.parametrize("away_s", [1.0, 60.0], ids=["1 s", "1 min"])
def test_gone_and_back_with_the_duration(clock, away_s):
    device = Device(clock)
    device.at[30] = LOST
    with recovering_camera(clock, device) as camera:
        frames(camera, 29)
        device.fails_to_open_until_s = clock() + away_s
        after = frames(camera, 5)
        events = camera.take_events()
    assert kinds(events) == ["camera down", "camera back"]
    assert events[0].detail == "unplugged: The camera front stopped delivering."
    assert away_s <= events[1].down_s <= 2 * away_s + 3
    assert events[1].frames_missed == pytest.approx(events[1].down_s * 10, rel=0.05)
    assert after[0].missing_before == "camera down"
    assert after[1].missing_before == "lost lines"
    assert camera.down is None


def test_pauses_double_up_to_a_minute_and_go_on_forever(clock):
    device = Device(clock)
    device.at[3] = LOST
    tried_s = []

    def opened():
        tried_s.append(clock())
        return device

    camera = RecoveringCamera("front", opened, Patience(), clock=clock, pause=clock.pause)
    with camera:
        frames(camera, 2)
        device.fails_to_open_until_s = clock() + 3600
        frames(camera, 1, most_reads=40_000)
    between = np.diff(tried_s[1:])
    assert list(between.round()[:6]) == [2, 4, 8, 16, 32, 60]
    assert max(between) < LONGEST_PAUSE_S + 1
    assert len(tried_s) > 60


def test_a_camera_that_fails_again_and_again_is_not_tried_faster_and_faster(clock):
    device = Device(clock)
    for number in range(5, 3000):
        device.at[number] = LOST
    with recovering_camera(clock, device) as camera:
        frames(camera, 4)
        with pytest.raises(AssertionError, match="only 0 frames"):
            frames(camera, 1, most_reads=1000)
        assert camera.counters["opened again"] < 12
        assert kinds(camera.take_events()) == ["camera down"]
        assert camera.down == "unplugged"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FrameSizeError("It is (4, 4).", "Fix it."), "wrong size"),
        (CameraHungError("It does not come back.", "Look."), "hung"),
        (LOST, "unplugged"),
    ],
    ids=["size", "hung", "lost"],
)
def test_failures_are_told_apart(clock, error, kind):
    device = Device(clock)
    device.at[3] = error
    with recovering_camera(clock, device) as camera:
        frames(camera, 4)
        events = camera.take_events()
    assert events[0].detail.startswith(f"{kind}: ")
    assert camera.counters[f"down: {kind}"] == 1


def test_not_there_at_the_start_is_an_error_at_once(clock):
    device = Device(clock)
    device.fails_to_open_until_s = 1e9
    with pytest.raises(CameraNotFoundError), recovering_camera(clock, device):
        pass
    assert device.opened == 1


def test_not_there_at_the_start_and_waited_for(clock):
    device = Device(clock)
    device.fails_to_open_until_s = clock() + 20
    with recovering_camera(clock, device, waits_at_start=True) as camera:
        assert camera.down == "unplugged"
        assert frames(camera, 1)
        assert kinds(camera.take_events()) == ["camera down", "camera back"]


def test_a_wrong_setting_is_an_error_at_once_even_when_waiting(clock):
    def opened():
        raise ConfigError("width = 0 is not permitted.", "Say another.")

    camera = RecoveringCamera(
        "front", opened, Patience(waits_at_start=True), clock=clock, pause=clock.pause
    )
    with pytest.raises(ConfigError), camera:
        pass


def test_a_frozen_image_is_withheld_then_the_camera_is_opened_again(clock):
    device = Device(clock)
    still = device.frame(1).image
    frozen = {number: lambda frame: Frame(frame.frame_id, still, 0.0, "x") for number in range(20, 400)}
    device.at.update(frozen)
    with recovering_camera(clock, device, frozen_s=5) as camera:
        seen = frames(camera, 20)
        assert seen[-1].frame_id == 20
        device.at.clear()
        device.at.update({number: frozen[number] for number in frozen if number < 90})
        (after,) = frames(camera, 1)
        events = camera.take_events()
    assert after.frame_id > 20
    assert after.missing_before == "camera down"
    assert events[0].detail == "frozen: the same image for 5 s"
    assert kinds(events) == ["camera down", "camera back"]
    assert events[1].down_s >= 5
    assert camera.counters["repeated"] > 30


@pytest.mark.parametrize("sign", ["noise", "counter"])
def test_a_loom_that_stands_still_is_not_frozen(clock, sign):
    device = Device(clock)
    still = device.frame(1).image

    def of_still_cloth(frame):
        image = still.copy()
        if sign == "noise":
            image[tuple(np.random.default_rng(frame.frame_id).integers(0, 30, 2))] ^= 1
        counter = frame.frame_id if sign == "counter" else None
        return Frame(frame.frame_id, image, clock(), "x", counter=counter)

    device.at.update(dict.fromkeys(range(10, 400), of_still_cloth))
    with recovering_camera(clock, device, frozen_s=5) as camera:
        got = frames(camera, 300)
        events = camera.take_events()
    if sign == "counter":
        assert len(got) == 300
    assert events == []


def cut(frame):
    return Frame(frame.frame_id, frame.image[:, :20].copy(), 0.0, "x", frame.position)


def torn(frame):
    image = frame.image.copy()
    image[16:] = 0
    return Frame(frame.frame_id, image, 0.0, "x", frame.position)


def black(frame):
    return Frame(frame.frame_id, np.zeros(HW, np.uint8), 0.0, "x", frame.position)


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [(cut, "wrong size"), (torn, "half empty"), (black, "black")],
    ids=["cut", "torn", "black"],
)
@pytest.mark.parametrize("with_position", [False, True])
def test_single_bad_frames_are_left_out_and_counted(clock, spoil, kind, with_position):
    device = Device(clock, with_position=with_position)
    device.at.update(dict.fromkeys(range(10, 13), spoil))
    with recovering_camera(clock, device) as camera:
        taken = frames(camera, 20)
        events = camera.take_events()
    assert [frame.frame_id for frame in taken] == [*range(1, 10), *range(13, 24)]
    assert taken[9].missing_before == "camera down"
    assert [(event.kind, event.detail) for event in events] == [("frames left out", f"3 {kind}")]
    assert events[0].frames_missed == (0 if with_position else 3)


def resized(height, width, **more):
    """Make frames as another resolution gives them."""

    def change(frame):
        image = np.random.default_rng(frame.frame_id).integers(60, 200, (height, width), np.uint8)
        return replace(frame, image=image, **more)

    return change


def test_a_camera_that_stays_at_another_size_is_said_with_both_sizes_and_the_cure(clock):
    device = Device(clock, rate_hz=25)
    device.at.update(dict.fromkeys(range(10, 100_000), resized(16, 24)))
    with recovering_camera(clock, device) as camera:
        frames(camera, 9)
        assert frames_within(camera, 300) == []
        (event,) = camera.take_events()
        assert camera.down == "wrong size"
    assert "24 x 16 pixels in grey instead of 48 x 32 pixels in grey" in event.detail
    assert 'Set the camera back, or set `frame_size = "any"`' in event.detail


@pytest.mark.parametrize("size_hw", [(16, 24), (64, 96), (31, 48)], ids=["half", "double", "cut"])
def test_with_any_size_the_run_goes_on_at_the_new_one_behind_a_gap(clock, size_hw):
    device = Device(clock, rate_hz=25)
    device.at.update(dict.fromkeys(range(10, 100_000), resized(*size_hw)))
    with recovering_camera(clock, device, accepts_any_size=True) as camera:
        taken = frames(camera, 30)
        events = camera.take_events()
    first_new = 9 + TAKEN_AFTER
    assert [frame.frame_id for frame in taken] == [*range(1, 10), *range(first_new, first_new + 21)]
    assert taken[9].image.shape == size_hw
    assert taken[9].missing_before == "camera down"
    assert events[0].kind == "camera size"
    width, height = size_hw[1], size_hw[0]
    assert events[0].detail == (
        f"{width} x {height} pixels in grey from here on, 48 x 32 pixels in grey until now"
    )
    assert sum(event.frames_missed for event in events) == TAKEN_AFTER - 1
    assert camera.counters["new size"] == 1


def test_the_scale_of_a_camera_follows_its_resolution(clock):
    device = Device(clock, rate_hz=25)
    device.at.update(dict.fromkeys(range(10), resized(32, 48, mm_per_px=0.2)))
    device.at.update(dict.fromkeys(range(10, 100_000), resized(16, 24, mm_per_px=0.2)))
    with recovering_camera(clock, device, accepts_any_size=True) as camera:
        taken = frames(camera, 12)
    assert [frame.mm_per_px for frame in taken] == [0.2] * 9 + [0.4] * 3


@pytest.mark.parametrize(
    ("change", "with_position", "why"),
    [
        (resized(32, 24, mm_per_px=0.2), False, "--mm-per-px is not known at that size"),
        (resized(16, 24), True, "where its columns lie on the cloth is not known"),
    ],
    ids=["another ratio of the sides", "a camera that knows its place"],
)
def test_a_size_at_which_the_cloth_cannot_be_measured_is_never_taken(clock, change, with_position, why):
    device = Device(clock, rate_hz=25, with_position=with_position)
    device.at.update(dict.fromkeys(range(10, 100_000), change))
    with recovering_camera(clock, device, accepts_any_size=True) as camera:
        assert len(frames(camera, 9)) == 9
        assert frames_within(camera, 300) == []
        (event,) = camera.take_events()
        assert camera.down == "wrong size"
    assert why in event.detail


def test_two_sizes_in_turn_are_never_taken(clock):
    device = Device(clock, rate_hz=25)
    for number in range(10, 100_000):
        device.at[number] = resized(16, 24) if number % 2 else resized(8, 12)
    with recovering_camera(clock, device, accepts_any_size=True) as camera:
        frames(camera, 9)
        assert frames_within(camera, 300) == []
        assert camera.down == "wrong size"
        assert "new size" not in camera.counters


@pytest.mark.parametrize(("spoil", "kind"), [(cut, "wrong size"), (torn, "half empty")])
def test_nothing_but_bad_frames_opens_the_camera_again(clock, spoil, kind):
    device = Device(clock, rate_hz=25)
    device.at.update(dict.fromkeys(range(10, 200), spoil))
    with recovering_camera(clock, device) as camera:
        taken = frames(camera, 10)
        events = camera.take_events()
    assert clock() >= 1000 + 200 / 25
    assert [frame.frame_id for frame in taken] == [*range(1, 11)]
    assert kinds(events) == ["camera down", "camera back"]
    assert events[0].detail.startswith(f"{kind}: {MOST_BAD_FRAMES} such frames in a row")


def test_what_is_no_image_is_counted_by_the_capture_and_opens_the_camera_again(clock):
    device = Device(clock, rate_hz=25)
    device.at.update(dict.fromkeys(range(10, 80), ImageError("front has the shape (0, 1920).", "Look.")))
    with recovering_camera(clock, device) as camera:
        frames(camera, 10)
        events = camera.take_events()
    assert events[0].detail.startswith("unusable: ")
    assert "(0, 1920)" in events[0].detail
    assert kinds(events) == ["camera down", "camera back", "frames left out"]
    missed = sum(event.frames_missed for event in events) + MOST_BAD_FRAMES
    assert missed == pytest.approx(events[1].down_s * device.rate_hz, abs=2)


@pytest.mark.parametrize("with_position", [False, True], ids=["counted", "a gap before the next frame"])
def test_single_incomplete_buffers_are_told_and_count_once(clock, with_position):
    device, raised = Device(clock, with_position=with_position), 0
    device.at.update(dict.fromkeys(range(10, 13), ImageError("a buffer is incomplete", "Check the cable.")))
    with recovering_camera(clock, device) as camera:
        for _ in range(3 * 9):
            try:
                frame = camera.read()
            except ImageError:
                raised += 1
            except NoFrameYetError:
                continue
            if raised == 0 and frame.frame_id == 13:
                assert frame.missing_before == "camera down"
        events = camera.take_events(is_over=True)
    assert [(event.kind, event.detail, event.frames_missed) for event in events] == [
        ("frames left out", "3 unusable", 0)
    ]
    assert raised == (0 if with_position else 3)


def test_black_for_long_is_what_there_is_to_see(clock):
    device = Device(clock)
    device.at.update(dict.fromkeys(range(10, 100), black))
    with recovering_camera(clock, device) as camera:
        taken = frames(camera, 20)
    assert taken[9].frame_id == 10 + MOST_BLACK
    assert taken[10].frame_id == 11 + MOST_BLACK


def test_the_first_frames_after_an_opening_are_not_inspected_while_they_are_black(clock):
    device = Device(clock)
    device.at.update({5: LOST, **dict.fromkeys(range(6, 40), black)})
    with recovering_camera(clock, device) as camera:
        taken = frames(camera, 5)
    assert taken[4].image.any()
    assert taken[4].missing_before == "camera down"


class Standing(Device):
    """A device that gives nothing for a while, and says so."""

    def __init__(self, clock, from_s, until_s, step_s):
        super().__init__(clock)
        self.span_s = from_s, until_s
        self.step_s = step_s

    def read(self):
        if self.span_s[0] < self.clock() < self.span_s[1]:
            time.sleep(0.004)  # until the other thread has looked
            self.clock.pause(self.step_s)
            raise NoFrameYetError
        return super().read()


def test_a_loom_that_stops_for_an_hour_is_no_failure_of_a_line_camera(clock, monkeypatch):
    monkeypatch.setattr(recovering, "WAIT_S", 0.002)
    device = Standing(clock, 1005, 1005 + 3600, step_s=5)
    looked_s = []
    with recovering_camera(clock, device, is_paced=True) as camera:
        for _ in range(100_000):
            try:
                frame = camera.read()
            except NoFrameYetError:
                looked_s.append(clock())
                continue
            if frame.frame_id > 36_000:
                break
        assert camera.take_events() == []
    assert device.opened == 1
    assert len(looked_s) > 100


def test_a_camera_that_runs_free_and_gives_nothing_is_late(clock, monkeypatch):
    monkeypatch.setattr(recovering, "WAIT_S", 0.002)
    with recovering_camera(clock, Standing(clock, 1005, 1030, step_s=0.5), silent_s=10) as camera:
        frames(camera, 60)
        events = camera.take_events()
    assert kinds(events) == ["camera down", "camera back"]
    assert events[0].detail.startswith("late: no frame for 1")


def test_a_read_that_never_comes_back_holds_up_nobody(monkeypatch):
    monkeypatch.setattr(recovering, "WAIT_S", 0.02)
    monkeypatch.setattr("edge.cameras.reader.LEAVE_S", 0.05)
    let_go = threading.Event()
    opened = []

    class Hanging(Device):
        def __init__(self):
            super().__init__(Clock())
            self.closed_from_outside = False
            opened.append(self)

        def __exit__(self, *_):
            self.closed_from_outside = True

        def read(self):
            if len(opened) == 1 and self.count == 3:
                assert let_go.wait(20)
                raise LOST
            return super().read()

    with RecoveringCamera("front", Hanging, Patience(silent_s=0.2)) as camera:
        taken = frames(camera, 6)
        assert opened[0].closed_from_outside
        (down, back) = camera.take_events()[:2]
    let_go.set()
    assert len(taken) == 6
    assert down.detail.startswith("late: ")
    assert back.kind == "camera back"


def test_calls_that_hang_forever_do_not_pile_up_threads(clock, monkeypatch):
    monkeypatch.setattr(recovering, "WAIT_S", 0.001)
    monkeypatch.setattr("edge.cameras.reader.LEAVE_S", 0.01)
    let_go = threading.Event()

    class Hanging(Device):
        def read(self):
            assert let_go.wait(20)
            raise LOST

    before = threading.active_count()
    camera = RecoveringCamera(
        "front", lambda: Hanging(clock), Patience(silent_s=0.01), clock=clock, pause=clock.pause
    )
    with camera:
        for _ in range(3000):
            clock.pause(0.1)
            with pytest.raises(NoFrameYetError):
                camera.read()
        assert threading.active_count() - before <= recovering.MOST_LEFT_BEHIND + 1
    let_go.set()


def test_still_down_at_the_end_is_told_with_the_time(clock):
    device = Device(clock)
    device.at[20] = LOST
    with recovering_camera(clock, device) as camera:
        frames(camera, 19)
        device.fails_to_open_until_s = 1e9
        with pytest.raises(AssertionError):
            frames(camera, 1, most_reads=200)
        camera.take_events()
        (event,) = camera.take_events(is_over=True)
    assert event.kind == "camera still down"
    assert event.down_s > 10
    assert event.frames_missed == pytest.approx(event.down_s * 10, abs=2)


def test_positions_that_start_again_go_on_by_the_speed_before(clock):
    class Counting(Device):
        def __enter__(self):
            self.started = round((self.clock() - 1000) * self.rate_hz)
            return super().__enter__()

        def frame(self, number, **more):
            frame = super().frame(number)
            position = FramePosition((number - self.started - 1) * HW[0] / 1000, 1.0, 1.0)
            return Frame(number - self.started - 1, frame.image, clock(), "x", position, follows_on=True)

    device = Counting(clock)
    device.at[50] = LOST
    with recovering_camera(clock, device, starts_again_at_zero=True) as camera:
        taken = frames(camera, 49)
        device.fails_to_open_until_s = clock() + 20
        (after,) = frames(camera, 1)
        true_m = (round((clock() - 1000) * 10) - 1) * HW[0] / 1000
    assert taken[-1].position.along_m == pytest.approx(48 * 0.032)
    assert after.position.along_m == pytest.approx(true_m, abs=0.1)
    assert after.frame_id == 49
    assert after.missing_before == "camera down"


@pytest.fixture
def silent_server():
    """A network camera that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = []

        def take():
            with suppress(OSError):
                while True:
                    taken.append(listener.accept()[0])

        threading.Thread(target=take, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        for connection in taken:
            connection.close()


def test_a_stop_is_obeyed_while_an_rtsp_address_opens(silent_server):
    """Tried with OpenCV's own stream: it does not come back for 30 s."""
    address = f"rtsp://127.0.0.1:{silent_server}/x"
    stop = threading.Event()
    camera = RecoveringCamera(address, lambda: choose_camera(address), Patience(silent_s=5))
    camera.ends_with(stop)
    threading.Timer(0.5, stop.set).start()
    began_s = time.monotonic()
    with camera:
        assert stop.is_set()
    assert time.monotonic() - began_s < 10


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (CameraHungError("It does not come back.", "Look."), "hung"),
        (LOST, "unplugged"),
        (ImageError("It is none.", "Look."), "unplugged"),
    ],
    ids=["hangs", "lost", "no image"],
)
def test_with_wait_for_camera_whatever_happens_to_it_while_it_opens_is_waited_for(clock, error, kind):
    tries = []

    def opened():
        tries.append(clock())
        if len(tries) < 3:
            raise error
        return Device(clock)

    camera = RecoveringCamera(
        "front", opened, Patience(waits_at_start=True), clock=clock, pause=clock.pause
    )
    with camera:
        assert len(frames(camera, 3)) == 3
        events = camera.take_events()
    assert len(tries) == 3
    assert events[0].detail.startswith(f"{kind}: ")


def test_with_wait_for_camera_one_that_does_not_open_at_all_is_waited_for(clock, monkeypatch):
    monkeypatch.setattr(recovering, "OPEN_S", 0.3)
    hanging = threading.Event()
    tries = []

    def opened():
        tries.append(1)
        if len(tries) == 1:
            hanging.wait(20)
        return Device(clock)

    camera = RecoveringCamera(
        "front", opened, Patience(waits_at_start=True), clock=clock, pause=clock.pause
    )
    with camera:
        assert camera.down == "hung"
        assert len(frames(camera, 3)) == 3
    hanging.set()


def test_with_wait_for_camera_a_wrong_setting_still_ends_the_run(clock):
    def opened():
        raise ConfigError("There is no node.", "Correct it.")

    camera = RecoveringCamera(
        "front", opened, Patience(waits_at_start=True), clock=clock, pause=clock.pause
    )
    with pytest.raises(ConfigError), camera:
        pass


@pytest.mark.parametrize(
    "error",
    [
        ValueError("buffer of 17 bytes"),
        MemoryError(),
        OSError(5, "Input/output error"),
        cv2.error("assert"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_driver_raises_unforeseen_opens_the_camera_again_and_is_said(clock, error):
    device, helpers = Device(clock), Helpers()
    device.at[5] = error
    with (
        watched_by(helpers),
        RecoveringCamera("front", lambda: device, clock=clock, pause=clock.pause) as camera,
    ):
        frames(camera, 20)
        events = camera.take_events()
    assert kinds(events) == ["camera down", "camera back"]
    assert type(error).__name__ in events[0].detail
    assert device.opened == 2
    assert helpers.failures == {"camera reader": 1}
    assert helpers.dead == []
