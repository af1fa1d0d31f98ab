from __future__ import annotations

import json
import sqlite3

import numpy as np
import pytest

from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.cameras.capture import Capture
from edge.cameras.protocol import Camera, Frame, FramePosition
from edge.core.errors import CameraLostError, ConfigError, InternalError
from edge.inference.inspector import Inspector, batches
from edge.pipeline.parts import Inspection, Results, Source
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.run_state import Limits
from edge.process.last_resort import TRACEBACK_VARIABLE
from edge.roll.reading import read_roll
from edge.roll.recorder import RollRecorder
from edge.roll.values import RollHead
from edge.sinks.jsonlines import JsonLinesSink
from tests.conftest import CLASSES, bright_cell_contract, write_bright_cell_model


class RollCamera(Camera):
    """Deliver 64-line blocks of a dark roll with a bright yarn through all, then what it is told."""

    name = "roll"
    is_live = False

    def __init__(self, blocks, then=None, follows_on=False):
        self._blocks = blocks
        self._follows_on = follows_on
        self._then = then
        self._count = 0
        self.is_open = False

    def __enter__(self):
        self.is_open = True
        return self

    def __exit__(self, *_):
        self.is_open = False

    def read(self):
        if self._count == self._blocks:
            if self._then:
                raise self._then
            return None
        image = np.zeros((64, 100), np.uint8)
        image[:, 40:48] = 255
        position = FramePosition(self._count * 0.064, 1.0, 1.0, left_selvedge_px=10)
        frame = Frame(self._count, image, 0.0, self.name, position, follows_on=self._follows_on)
        self._count += 1
        return frame


@pytest.fixture
def inspector(tmp_path):
    contract = bright_cell_contract()
    path = write_bright_cell_model(tmp_path / "m.onnx", contract)
    with OnnxRuntimeBackend(path, contract) as backend:
        yield Inspector(backend, contract)


def run(camera, inspector, results=None, **source):
    return Pipeline(Source(camera, **source), Inspection(inspector, CLASSES), results).run()


@pytest.mark.parametrize("follows_on", [False, True])
def test_a_yarn_through_all_blocks_is_one_defect_in_metres(inspector, follows_on):
    camera = RollCamera(10, follows_on=follows_on)
    state = run(camera, inspector)
    assert state.error is None
    assert not camera.is_open
    (yarn,) = state.defects
    assert (yarn.start_m, yarn.end_m) == (0.0, pytest.approx(0.64))
    assert (yarn.left_mm, yarn.right_mm) == (pytest.approx(30, abs=6), pytest.approx(38, abs=6))
    assert state.coverage.metres_inspected == pytest.approx(0.64)
    assert state.cold_start_ms > 0


class StreakCamera(RollCamera):
    """Deliver cloth with a spot of one grey value at the same ends of each block."""

    def __init__(self, blocks, grey):
        super().__init__(blocks)
        self._grey = grey

    def read(self):
        frame = super().read()
        if frame is not None:
            frame.image[:] = 0
            frame.image[24:32, 48:56] = self._grey
        return frame


@pytest.mark.parametrize(("grey", "reported"), [(150, 1), (250, 20)], ids=["weak", "clear"])
def test_a_weak_place_that_comes_again_and_again_is_reported_once_with_an_event(
    tmp_path, inspector, grey, reported
):
    out, record = tmp_path / "d.jsonl", tmp_path / "r.db"
    recorder = RollRecorder(record, RollHead("roll", "0" * 64, {}))
    camera = StreakCamera(20, grey)
    state = run(camera, inspector, Results([JsonLinesSink(out)], recorder=recorder))
    assert state.error is None
    roll = read_roll(record, None)
    assert len(roll.defects) == len(state.defects) == reported
    assert state.folded == 20 - reported
    assert sum(len(json.loads(line)["detections"]) for line in out.read_text().splitlines()) == 20
    recurs = {one.kind: one.data["times"] for one in roll.events if "recur" in one.kind}
    assert recurs == ({"defect recurs": 3, "defect recurred": 20} if reported == 1 else {})


def test_a_camera_that_vanishes_leaves_what_was_recorded(tmp_path, inspector):
    camera = RollCamera(5, then=CameraLostError("The camera roll stopped.", "Plug it in."))
    out = tmp_path / "out.jsonl"
    state = run(camera, inspector, Results([JsonLinesSink(out)]))
    assert isinstance(state.error, CameraLostError)
    assert not camera.is_open
    assert [json.loads(line)["frame_id"] for line in out.read_text().splitlines()] == list(range(5))
    assert len(state.defects) == 1


def test_a_programmers_mistake_is_not_swallowed_and_the_camera_is_released(inspector):
    camera = RollCamera(5, then=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        run(camera, inspector)
    assert not camera.is_open


@pytest.mark.parametrize(
    ("limits", "frames"), [(Limits(frames=3), 3), (Limits(metres=0.2), 4), (Limits(seconds=1e-9), 0)]
)
def test_limits(inspector, limits, frames):
    state = run(RollCamera(50), inspector, limits=limits)
    assert state.coverage.frames_inspected == frames
    assert not state.stopped_on_request


class LiveRoll(RollCamera):
    """As fast as it is read, and live: what nobody fetches in time is dropped."""

    is_live = True


@pytest.mark.parametrize(
    "limits",
    [Limits(frames=5), Limits(metres=0.3), Limits(seconds=0.3)],
    ids=["frames", "metres", "seconds"],
)
@pytest.mark.parametrize("follows_on", [False, True])
def test_what_a_live_camera_lost_is_all_overrun_wherever_the_run_ends(inspector, limits, follows_on):
    camera = LiveRoll(10**9, follows_on=follows_on)
    state = run(camera, inspector, limits=limits, queue_frames=1)
    coverage = state.coverage
    assert state.dropped > 0
    assert coverage.gap_lines("overrun") == state.dropped * 64
    assert coverage.lines_delivered == coverage.lines_inspected + coverage.gap_lines("overrun")
    assert {gap.reason for gap in coverage.gap_list} <= {"overrun"}


def test_metres_without_a_position(inspector):
    camera = RollCamera(3)
    placed = camera.read
    camera.read = lambda: (frame := placed()) and Frame(frame.frame_id, frame.image, 0.0, "roll")
    state = run(camera, inspector, limits=Limits(metres=1))
    assert isinstance(state.error, ConfigError)


@pytest.mark.parametrize(
    ("views", "most", "sizes"), [(20, 16, [10, 10]), (7, 3, [3, 3, 1]), (1, 8, [1]), (8, 8, [8])]
)
def test_batches_are_even(views, most, sizes):
    assert [len(batch) for batch in batches(tuple(range(views)), most)] == sizes


@pytest.mark.parametrize("follows_on", [False, True])
def test_what_is_found_does_not_depend_on_how_far_ahead_strips_are_prepared(
    inspector, follows_on, monkeypatch, tmp_path
):
    def written(name):
        out = tmp_path / name
        camera = RollCamera(10, follows_on=follows_on)
        state = run(camera, inspector, Results([JsonLinesSink(out)]))
        return out.read_bytes(), [defect.as_json() for defect in state.defects]

    ahead = written("ahead.jsonl")
    monkeypatch.setattr(Capture, "has_next", False)
    assert written("in-turn.jsonl") == ahead
    assert len(ahead[0].splitlines()) == 10 if not follows_on else len(ahead[0].splitlines()) > 10


def test_two_images_can_be_prepared_before_the_first_is_looked_at(inspector):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (64, width), np.uint8) for width in (300, 100, 200)]
    wanted = [inspector.inspect(image) for image in images]
    coming = inspector.prepare(images[0])
    for image, found in zip([*images[1:], images[0]], wanted, strict=True):
        now, coming = coming, inspector.prepare(image)
        again = inspector.find(now).defects
        assert np.array_equal(again.boxes_xyxy_px, found.boxes_xyxy_px)
        assert np.array_equal(again.scores, found.scores)
    assert len(wanted[0]) > 0


def test_a_network_is_warmed_up_once_for_each_size_of_batch(inspector, monkeypatch):
    sizes = []
    monkeypatch.setattr(inspector._backend, "warm_up", sizes.append)
    for width in (64, 300, 64, 300):
        inspector.warm_up((64, width))
    assert sizes == [1, 6]


class DriverPanic(BaseException):
    """What a library in another language raises past `except Exception`."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("buffer of 17 bytes"), InternalError),
        (sqlite3.OperationalError("disk I/O error"), InternalError),
        (DriverPanic("index out of bounds"), CameraLostError),
    ],
    ids=["ValueError", "OperationalError", "panic"],
)
def test_an_error_that_nobody_foresaw_ends_a_run_with_all_that_was_found(
    inspector, error, kind, monkeypatch, tmp_path
):
    monkeypatch.delenv(TRACEBACK_VARIABLE, raising=False)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    camera, out = RollCamera(5, then=error), tmp_path / "out.jsonl"
    state = run(camera, inspector, Results([JsonLinesSink(out)]))
    assert isinstance(state.error, kind)
    assert type(error).__name__ in str(state.error)
    assert not camera.is_open
    assert len(out.read_text().splitlines()) == 5
    assert len(state.defects) == 1
