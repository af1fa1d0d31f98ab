import numpy as np
import pytest

from edge.cameras.loom import LoomCamera
from edge.cameras.protocol import Camera
from edge.core.errors import CameraNotFoundError
from edge.simulator.loom import Loom
from edge.simulator.options import LoomOptions


class FakeClock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds


def small(**settings):
    return LoomOptions(**{"width_px": 256, "texture_lines": 127} | settings)


def frames_of(camera):
    with camera:
        return list(iter(camera.read, None))


def test_lines_come_without_gap_or_overlap_to_the_end_of_the_roll():
    options = small(length_m=0.1, lines_per_block=128)
    camera: Camera = LoomCamera(options)
    frames = frames_of(camera)
    assert [len(frame.image) for frame in frames] == [128, 128, 128, 116]
    assert [frame.frame_id for frame in frames] == [0, 1, 2, 3]
    assert np.array_equal(np.vstack([frame.image for frame in frames]), Loom(options).render(0, 500))


def test_a_frame_knows_its_place_on_the_roll():
    options = small(length_m=0.2, lines_per_block=100, mm_per_px=0.25, bed_left_mm=10)
    position = frames_of(LoomCamera(options))[3].position
    assert position.along_m == pytest.approx(0.075)
    assert (position.mm_per_px_along, position.mm_per_px_across) == (0.25, 0.25)
    assert position.left_selvedge_px == 40


def test_area_frames_overlap_as_rate_and_speed_have_it():
    options = small(scan="area", height_px=200, speed_m_min=12.0, frames_hz=10.0, length_m=0.1)
    frames = frames_of(LoomCamera(options))
    assert {len(frame.image) for frame in frames} == {200}
    steps = np.diff([frame.position.along_m for frame in frames])
    assert np.allclose(steps, 0.02)
    assert len(frames) == 4


def test_a_replay_does_not_wait():
    clock = FakeClock()
    frames_of(LoomCamera(small(length_m=1.0), clock=clock, sleep=clock.sleep))
    assert clock.now_s == 100.0


def test_a_live_loom_keeps_the_pace_of_the_cloth():
    clock = FakeClock()
    options = small(length_m=1.0, speed_m_min=20.0, live=True, lines_per_block=250)
    camera = LoomCamera(options, clock=clock, sleep=clock.sleep)
    frames = frames_of(camera)
    assert camera.is_live
    assert clock.now_s - 100.0 == pytest.approx(3.0)
    assert frames[0].monotonic_s == pytest.approx(100.0 + 0.15)


def test_a_live_loom_does_not_wait_for_a_late_reader():
    clock = FakeClock()
    options = small(live=True, lines_per_block=250)
    with LoomCamera(options, clock=clock, sleep=clock.sleep) as camera:
        camera.read()
        clock.now_s += 5.0
        camera.read()
    assert clock.now_s == pytest.approx(105.15)


def test_reading_a_closed_camera_says_so():
    camera = LoomCamera(small())
    with pytest.raises(CameraNotFoundError, match="with statement"):
        camera.read()


def test_the_ground_truth_of_a_frame_and_of_the_roll_agree_open_or_closed():
    camera = LoomCamera(small(length_m=2.0, defects_per_m=8, lines_per_block=1000))
    with camera:
        seen = {item.defect_id for frame_id in range(10) for item in camera.seen_defects(frame_id)}
        planted = camera.planted_up_to(2.0)
    assert seen == {item.defect_id for item in planted}
    assert camera.planted_up_to(2.0) == planted
