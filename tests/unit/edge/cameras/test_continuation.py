"""Places after a camera was opened again, also when the loom ran back before or meanwhile."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.cameras.continuation import SPEED_OVER_S, Onward
from edge.cameras.protocol import Frame, FramePosition
from edge.cloth.coverage import Coverage

LINES, MM = 100, 1.0

BACK_AND_ON_AGAIN = [0, -7, *[0] * 9, 7]
"""Lines that a loom ran each second: none from first to last, and 7 in the last ten seconds."""


def frame(number, first_line):
    position = FramePosition(first_line * MM / 1000, MM, MM)
    return Frame(number, np.zeros((LINES, 4), np.uint8), 0.0, "test", position, follows_on=True)


def test_a_place_that_the_encoder_knows_is_believed_also_behind_the_last_one():
    """The loom ran back by 250 lines while the camera was away: nothing passed, nothing counts twice."""
    onward, coverage = Onward(starts_again_at_zero=False), Coverage()
    for number in range(5):
        coverage.passed(onward.moved(frame(number, number * LINES), number))
    onward.begin_again()
    back = onward.moved(frame(0, 250), 100.0)
    assert (back.frame_id, back.position.first_line) == (5, 250)
    coverage.passed(back)
    for number in range(1, 4):
        coverage.passed(onward.moved(frame(number, 250 + number * LINES), 100.0 + number))
    assert (coverage.lines_delivered, coverage.lines_inspected) == (650, 650)


@given(st.lists(st.integers(-30, 30), min_size=2, max_size=20), st.floats(0, 1000))
@example(BACK_AND_ON_AGAIN, 143.0)
def test_a_place_that_starts_again_lies_as_far_on_as_the_last_ten_seconds_say_and_never_back(steps, away_s):
    """A loom that ran back before the failure is not taken to run back further: nobody knows that."""
    onward, lines, last = Onward(starts_again_at_zero=True), [10_000], None
    for number, step in enumerate(steps):
        lines.append(lines[-1] + step)
        last = onward.moved(frame(number, lines[-1]), number)
    onward.begin_again()
    first = onward.moved(frame(0, 0), len(steps) + away_s)
    assert first.frame_id == last.frame_id + 1
    gone = first.position.first_line - (last.position.first_line + LINES)
    known = lines[1:][-1 - int(SPEED_OVER_S) :]  # a frame a second
    speed = (known[-1] - known[0]) / (len(known) - 1)
    if speed <= 0:  # it ran back, or stood
        assert gone == 0
    else:  # the first frame shows the last lines of what passed
        assert gone == pytest.approx(max(0.0, speed * (away_s + 1) - LINES), abs=0.5 + 1e-6)
    second = onward.moved(frame(1, LINES), len(steps) + away_s + 1)
    assert second.position.first_line == pytest.approx(first.position.first_line + LINES)
