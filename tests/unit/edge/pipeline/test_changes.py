"""Where in the stream a roll changes: what was captured before belongs to the old roll, also if dropped."""

from __future__ import annotations

import threading
import time

import pytest

from edge.cameras.capture import Capture
from edge.cameras.protocol import NoFrameYetError
from edge.core.errors import ConfigError
from edge.core.latency import StageClock
from edge.pipeline.changes import MOST_WAITING, RollChanges, RollRequest
from edge.pipeline.parts import Inspection, Results, Source
from edge.pipeline.pipeline import Pipeline
from tests.unit.edge.pipeline.test_pipeline import CLASSES, RollCamera, inspector

__all__ = ["inspector"]


class Standing(RollCamera):
    """Give some blocks, then nothing while the loom stands, until it is told to end."""

    is_live = True

    def __init__(self, blocks, ends):
        super().__init__(blocks, follows_on=True)
        self._ends = ends

    def read(self):
        if self._count < self._blocks:
            return super().read()
        if self._ends.is_set():
            return None
        time.sleep(0.01)
        raise NoFrameYetError


def attached(frames=0):
    """Return a live camera, a capture with room for one of its frames, and changes on that."""
    camera = RollCamera(frames)
    camera.is_live = True
    capture = Capture(camera, 1, threading.Event(), StageClock())
    changes = RollChanges()
    changes.attach(capture)
    return camera, capture, changes


def test_dropped_frames_are_told_apart_at_the_moment_of_the_request():
    camera, capture, changes = attached(10)
    for _ in range(4):
        capture._put(camera.read())
    changes.ask(RollRequest("operator"))
    for _ in range(6):
        capture._put(camera.read())
    change = changes.due(9)
    assert change.last_frame_id == 3
    before = capture.take_dropped(before=4)
    assert [(one.frames, one.last_frame_id) for one in before] == [(4, 3)]
    assert [(one.frames, one.last_frame_id) for one in capture.take_dropped()] == [(5, 8)]
    assert changes.due() is None


def test_one_request_is_one_change_and_too_many_are_refused():
    _, _, changes = attached()
    request = RollRequest("operator", request_id="1" * 32)
    assert [changes.ask(request), changes.ask(request)] == [True, False]
    for _ in range(MOST_WAITING - 1):
        changes.ask(RollRequest("operator"))
    with pytest.raises(ConfigError, match="Too many"):
        changes.ask(RollRequest("operator"))
    changes.attach(None)
    with pytest.raises(ConfigError, match="not running"):
        changes.ask(RollRequest("operator"))
    assert changes.mark() is None


def test_a_refused_request_may_come_again():
    problems = [ConfigError("No.", "Yes.")]

    def check(_):
        if problems:
            raise problems.pop()

    _, capture, _ = attached()
    changes = RollChanges(check)
    changes.attach(capture)
    request = RollRequest("operator")
    with pytest.raises(ConfigError):
        changes.ask(request)
    assert changes.ask(request)


def test_cameras_of_one_loom_change_together_under_one_name(caplog):
    cameras = [attached()[2] for _ in range(3)]
    for one in cameras:
        one.share_with([other for other in cameras if other is not one])
    cameras[2].attach(None)
    assert cameras[1].ask(RollRequest("operator"))
    first, second = cameras[0].due(), cameras[1].due()
    assert first.request == second.request
    assert first.request.name.startswith("roll of ")
    assert "does not change" in caplog.text, "the third camera has ended"
    assert not cameras[0].ask(second.request), "and nobody does it twice"
    assert cameras[0].due() is cameras[1].due() is None


@pytest.mark.parametrize("blocks", [3, 5])
def test_while_the_loom_stands_the_roll_changes_at_once(inspector, blocks):
    """Lines that wait for a whole strip are inspected first; the yarn is cut in two."""
    ends, changes = threading.Event(), RollChanges()
    camera = Standing(blocks, ends)
    asked = []

    def look(state, _):
        if state.silent_s and not asked and state.coverage.frames_inspected:
            asked.append(changes.ask(RollRequest("operator", "B")))
        if state.roll.number == 2 and camera._blocks == blocks:
            camera._blocks += 2
        if state.roll.number == 2 and state.roll.coverage.lines_delivered:
            ends.set()

    source = Source(camera, queue_frames=16, changes=changes)
    state = Pipeline(source, Inspection(inspector, CLASSES), Results(observers=[look])).run()
    (first,) = state.rolls
    assert first.sums.lines_delivered == first.sums.lines_inspected == blocks * 64
    assert state.roll.coverage.lines_delivered == 2 * 64
    assert [(d.start_m, d.end_m) for d in state.found] == [
        (0.0, pytest.approx(blocks * 0.064)),
        (pytest.approx(blocks * 0.064), pytest.approx((blocks + 2) * 0.064)),
    ]
    assert state.roll.terms.name == "B"
