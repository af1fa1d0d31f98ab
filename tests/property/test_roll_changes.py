"""Whatever passes, and whenever the roll changes: each roll adds up, and the rolls make up the run."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.cameras.protocol import GAP_REASONS, DroppedFrames, Frame, FramePosition
from edge.cloth.coverage import Coverage
from edge.cloth.defects import ClothDefect
from edge.cloth.mask import Mask
from edge.core.detections import Detections
from edge.core.latency import StageClock
from edge.pipeline.changes import RollRequest
from edge.pipeline.ledger import Ledger
from edge.pipeline.run_state import RunState
from edge.roll.part import SLIVER_M, cut_at

MM = 0.3
steps = st.lists(
    st.tuples(
        st.integers(-60, 60),  # from the end of the frame before: overlaps, jumps, runs back
        st.integers(1, 40),  # lines
        st.sampled_from(["seen", "dropped", "bare", "half", "dark", "unreadable"]),
        st.sampled_from(["lost lines", "camera down"]),
        st.one_of(st.none(), st.none(), st.just("asked"), st.integers(0, 40)),  # a change, or a joint's row
    ),
    min_size=1,
    max_size=40,
)


def frame(number, first_line, lines, reason):
    position = FramePosition(first_line * MM / 1000, MM, 1.0)
    image = np.zeros((lines, 8), np.uint8)
    return Frame(number, image, 0.0, "test", position, follows_on=True, missing_before=reason)


def found_in(lines):
    box = np.array([[1, 0, 3, lines]], np.float32)
    return Detections(box, np.array([0.9], np.float32), np.array([0]))


def run_of(begin, steps):
    """Let the ledger account for all steps; returns the state, and the same in one roll without changes."""
    state, whole = RunState(class_names=("broken",)), Coverage()
    ledger = Ledger(state, StageClock())
    end, unreadable, rolls = begin, 0, []
    for number, (step, lines, what, reason, change) in enumerate(steps):
        if change == "asked":
            rolls.append(state.roll)
            ledger.change_roll(RollRequest("operator"))
        first = max(0, end + step)
        end = first + lines
        one = frame(number, first, lines, reason)
        if what == "unreadable":
            unreadable += 1
            ledger.unreadable(unreadable)
        elif what == "dropped":
            whole.missed(one.position, lines, "overrun", reason)
            ledger.dropped([DroppedFrames(1, one.position, lines, number, reason)])
        elif what == "dark":
            whole.dark(one)
            ledger.dark(one)
        else:
            cloth: Mask = np.arange(lines) >= {"seen": 0, "bare": lines, "half": lines // 2}[what]
            whole.passed(one, cloth)
            row = change if isinstance(change, int) and change <= lines else None
            before = state.roll
            ledger.inspected(one, found_in(lines), [], cloth, joint_row=row)
            rolls += [before] if state.roll is not before else []
    ledger.end()
    return state, whole, [*rolls, state.roll]


@settings(max_examples=60)
@given(st.integers(0, 10**6), steps)
def test_each_roll_adds_up_and_the_rolls_make_up_the_run(begin, steps):
    state, whole, rolls = run_of(begin, steps)
    assert len(rolls) == state.rolls_ended + 1 == state.roll.number
    for roll in rolls:
        coverage = roll.coverage
        assert (
            coverage.lines_inspected + sum(map(coverage.gap_lines, GAP_REASONS)) == coverage.lines_delivered
        )
        assert coverage.lines_inspected >= 0
        assert sum(gap.end - gap.start for gap in coverage.gap_list) == coverage.gap_list.lines
    placed = [roll.coverage for roll in rolls if roll.coverage.knows_metres]
    for before, after in pairwise(placed):  # no line twice, none left out
        assert after.first_line == before.reached_line
    if placed:
        assert (placed[0].first_line, placed[-1].reached_line) == (whole.first_line, whole.reached_line)
    total = state.total
    assert total.lines_delivered == sum(roll.coverage.lines_delivered for roll in rolls)
    assert total.lines_inspected == sum(roll.coverage.lines_inspected for roll in rolls)
    assert total.frames_unreadable == state.unreadable
    assert total.frames_dropped == state.dropped
    assert [one.sums for one in state.rolls] == [roll.coverage.sums() for roll in rolls[:-1]]


@settings(max_examples=60)
@given(st.integers(0, 10**6), steps)
def test_defects_lie_on_their_roll_and_all_are_counted(begin, steps):
    state, _, rolls = run_of(begin, steps)
    assert sum(len(roll.defects) for roll in rolls) == len(state.found)
    for roll in rolls:
        m = roll.coverage.m_per_line
        for defect in roll.defects:
            assert defect.end_m > defect.start_m
            if roll.number > 1 and rolls[roll.number - 2].coverage.knows_metres:
                assert defect.start_m >= roll.coverage.first_line * m - 1e-9
            if roll is not rolls[-1]:
                assert defect.end_m <= roll.coverage.reached_line * m + 1e-9


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(1e-6, 0.5)), max_size=5), st.floats(-0.5, 2)
)  # start and length
def test_a_cut_loses_no_piece_and_adds_no_length(places, at_m):
    pieces = [ClothDefect("broken", 0.9, start, start + length, 0, 1) for start, length in places]
    before, behind = cut_at(pieces, at_m)
    assert all(piece.end_m <= at_m for piece in before if piece not in pieces)
    assert all(piece.end_m > piece.start_m for piece in [*before, *behind])
    for piece in pieces:
        parts = [
            part
            for part in [*before, *behind]
            if part.start_m >= piece.start_m and part.end_m <= piece.end_m
        ]
        kept_m = max((part.end_m - part.start_m for part in parts), default=0)
        assert kept_m > 0
        assert kept_m >= (piece.end_m - piece.start_m) / 2 - SLIVER_M
