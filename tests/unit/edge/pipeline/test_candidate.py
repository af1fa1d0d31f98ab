"""What a candidate bundle accounts for: stretches of a roll, metres that it skipped, rolls that end."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from edge.cameras.protocol import Frame, FramePosition
from edge.core.detections import Detections, no_detections
from edge.pipeline.candidate import CANDIDATE_INSPECTED, LATE_S, STRETCH_M, Candidate
from edge.roll.part import RollPart

MM, LINES = 10.0, 100
FRAME_M = LINES * MM / 1000


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def frame(number, at_s=0.0):
    position = FramePosition(number * FRAME_M, MM, MM)
    return Frame(number, np.zeros((LINES, 50), np.uint8), at_s, "loom", position, follows_on=True)


def spot(row):
    return Detections(
        np.array([[10, row, 12, row + 2]], np.float32), np.array([0.9], np.float32), np.array([0])
    )


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def candidate(clock):
    found = SimpleNamespace(find=lambda image: SimpleNamespace(defects=spot(20)))
    return Candidate(found, ("broken",), "a" * 16, may_skip=True, clock=clock)


def test_a_stretch_becomes_one_event_with_its_defects_counted_from_its_start(candidate):
    roll, start = RollPart(), 3
    for number in range(start, start + round(STRETCH_M / FRAME_M)):
        candidate.take(spot(20) if number == start + 1 else no_detections(), frame(number), roll, 0)
    [event] = candidate.events()
    assert (event.kind, event.at_m) == (CANDIDATE_INSPECTED, start * FRAME_M)
    assert (event.data["bundle"], event.data["count"]) == ("a" * 16, 1)
    assert event.data["inspected_m"] == pytest.approx(STRETCH_M)
    [one] = event.data["defects"]
    assert one["start_m"] == pytest.approx(FRAME_M + 20 * MM / 1000)
    assert (one["class_name"], one["left_mm"]) == ("broken", 100.0)
    assert candidate.events() == []


def test_a_frame_that_is_late_is_skipped_and_its_metres_are_said(candidate, clock):
    clock.now_s = LATE_S + 1
    assert candidate.find(frame(0), None) is None
    assert candidate.find(frame(0, at_s=clock.now_s), None) is not None
    roll = RollPart()
    candidate.take(None, frame(0), roll, 0)
    candidate.take(no_detections(), frame(1), roll, 0)
    candidate.end_stretch()
    [event] = candidate.events()
    assert event.data["skipped_m"] == pytest.approx(FRAME_M)
    assert event.data["inspected_m"] == pytest.approx(FRAME_M)
    assert "skipped under load" in event.detail


def test_what_is_open_when_another_roll_begins_counts_for_none(candidate):
    candidate.take(spot(20), frame(0), RollPart(), 0)
    candidate.take(no_detections(), frame(1), RollPart(), 0)
    candidate.end_stretch()
    [event] = candidate.events()
    assert (event.data["inspected_m"], event.data["count"]) == (pytest.approx(FRAME_M), 0)


def test_cloth_that_runs_back_and_forward_again_counts_once(candidate):
    roll = RollPart()
    for number in (0, 1, 0, 1, 2):
        candidate.take(spot(20) if number == 1 else no_detections(), frame(number), roll, 0)
    candidate.end_stretch()
    [event] = candidate.events()
    assert event.data["inspected_m"] == pytest.approx(3 * FRAME_M)
    assert event.data["count"] == 1


def test_a_frame_without_a_position_is_left_alone(candidate):
    image = np.zeros((LINES, 50), np.uint8)
    nowhere = Frame(0, image, 0.0, "loom", None)
    assert candidate.find(nowhere, None) is None
    candidate.take(None, nowhere, RollPart(), 0)
    candidate.end_stretch()
    assert candidate.events() == []
