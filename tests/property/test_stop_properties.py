"""Laws of the stop policy: limits hold, order does not matter, shadow decides what earnest would."""

from __future__ import annotations

from collections import deque

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.cameras.protocol import Frame, FramePosition
from edge.cloth.defects import ClothDefect
from edge.config.stop import StopRule, StopSettings
from edge.core.counted import counted
from edge.core.detections import Detections
from edge.core.latency import StageClock
from edge.decisions.policy import HOUR_S, BlockOnRoll, StopPolicy
from edge.decisions.stops import STOP, WOULD_BE_STOP, Stops
from edge.pipeline.ledger import Ledger
from edge.pipeline.parts import Results
from edge.pipeline.run_state import RunState

BLOCK_M = 0.1
NAMES = ("broken", "drop")


@st.composite
def policies(draw):
    rule = st.builds(
        StopRule,
        least_score=st.sampled_from([0.0, 0.5]),
        least_mm=st.sampled_from([0.0, 15.0]),
        times=st.integers(1, 4),
        within_m=st.sampled_from([0.05, 0.3, 2.0]),
        running_mm=st.sampled_from([None, 80.0]),
    )
    return StopSettings(
        mode=draw(st.sampled_from(["shadow", "on"])),
        classes=draw(st.dictionaries(st.sampled_from(NAMES), rule)),
        most_per_hour=draw(st.integers(1, 4)),
        apart_m=draw(st.sampled_from([0.0, 0.25, 1.0])),
        after_start_m=draw(st.sampled_from([0.0, 0.2])),
    )


@st.composite
def rolls(draw):
    """Blocks of one roll in turn, each with the time that passed before it."""
    piece = st.builds(
        lambda name, score, at, long_mm, left: (name, score, at, long_mm / 1000, left),
        st.sampled_from(NAMES),
        st.sampled_from([0.2, 0.6, 0.9]),
        st.floats(0, 0.09),
        st.sampled_from([5.0, 30.0, 100.0]),
        st.sampled_from([0.0, 50.0, 100.0]),
    )
    blocks = draw(
        st.lists(st.tuples(st.lists(piece, max_size=4), st.sampled_from([1.0, 700.0, HOUR_S])), max_size=30)
    )
    now_s, roll = 0.0, []
    for number, (pieces, passed_s) in enumerate(blocks):
        now_s += passed_s
        start_m = number * BLOCK_M
        found = [
            ClothDefect(name, score, start_m + at, start_m + at + long_m, left, left + 5)
            for name, score, at, long_m, left in pieces
        ]
        roll.append((BlockOnRoll(start_m, start_m + BLOCK_M, found, found), now_s))
    return roll


def decided(policy, roll):
    machine = StopPolicy(policy, NAMES)
    return [(now_s, machine.decide(block, now_s)) for block, now_s in roll]


@given(policies(), rolls())
def test_never_more_stops_than_the_limits_permit(policy, roll):
    hour, last_m = deque(), None
    for now_s, decision in decided(policy, roll):
        if decision is None or decision.held_back:
            continue
        hour.append(now_s)
        while now_s - hour[0] >= HOUR_S:
            hour.popleft()
        assert len(hour) <= policy.most_per_hour
        assert last_m is None or decision.at_m - last_m >= policy.apart_m
        assert all(piece.start_m >= policy.after_start_m or piece.end_m > policy.after_start_m
                   for piece in decision.evidence)  # fmt: skip
        last_m = decision.at_m


@given(policies(), rolls(), st.randoms(use_true_random=False))
def test_the_order_within_a_block_does_not_matter(policy, roll, rng):
    mixed = []
    for block, now_s in roll:
        found, defects = list(block.found), list(block.defects)
        rng.shuffle(found)
        rng.shuffle(defects)
        mixed.append((BlockOnRoll(block.start_m, block.end_m, found, defects), now_s))
    assert decided(policy, mixed) == decided(policy, roll)


class Deaf:
    """Take requests and say nothing: what a delivery does is tested elsewhere."""

    is_running = None

    def __init__(self):
        self.asked = []

    def request(self, request):
        self.asked.append(request.event_id)

    def news(self):
        return []


@settings(max_examples=40)
@given(policies(), rolls())
def test_a_would_be_stop_exists_where_a_stop_would(policy, roll):
    told = {}
    deaf = Deaf()
    for mode, kind in (("shadow", WOULD_BE_STOP), ("on", STOP)):
        stops = Stops(policy.model_copy(update={"mode": mode}), NAMES, deaf if mode == "on" else None)
        for block, _ in roll:
            stops.placed(block.start_m, 0.0, block.found, block.defects)
        told[mode] = [(event.at_m, event.data["reason"]) for event in stops.events() if event.kind == kind]
        assert stops.counts[kind] == len(told[mode])
    assert told["shadow"] == told["on"]
    assert len(deaf.asked) == len(told["on"])


@given(policies(), rolls())
def test_cloth_that_passes_again_decides_nothing(policy, roll):
    machine = StopPolicy(policy, NAMES)
    for block, now_s in roll:
        machine.decide(block, now_s)
    assert all(machine.decide(block, now_s) is None for block, now_s in roll if roll)


MM_PER_PX = 0.2
APART_PX = 20
"""More than the jitter of a box's edge, as two defects are that an inspector tells apart."""


@st.composite
def planted(draw):
    """Boxes (x1, y1, x2, y2) in px of the cloth, none nearer to another than `APART_PX` along it."""
    rows = draw(
        st.lists(st.tuples(st.integers(APART_PX, 200), st.integers(1, 250)), min_size=1, max_size=8)
    )
    boxes, bottom = [], 0
    for apart, height in rows:
        left = draw(st.integers(0, 400))
        boxes.append((left, bottom + apart, left + draw(st.integers(1, 100)), bottom + apart + height))
        bottom += apart + height
    return boxes


@st.composite
def looks(draw):
    """How a camera looks at the cloth: (rows of a frame, step, rows carried over, first row)."""
    rows = draw(st.integers(8, 400))
    if draw(st.booleans()):  # a line camera: strips, with lines carried over
        return rows, rows, draw(st.integers(0, rows)), draw(st.integers(0, 50))
    return rows, draw(st.integers(max(1, rows // 5), rows)), 0, draw(st.integers(0, 50))


def reasons_of(boxes, look, times):
    """Inspect planted boxes as the pipeline does, through the real account of a run; return the reasons."""
    rows, step, carried, first = look
    rule = StopRule(times=times, within_m=100.0, running_mm=1e6)
    stops = Stops(StopSettings(classes={"broken": rule}, after_start_m=0.0, apart_m=0.0), NAMES)
    state = RunState(class_names=NAMES)
    ledger = Ledger(state, StageClock(), Results(stops=stops))
    last = max(box[3] for box in boxes)
    for number, top in enumerate(range(-first, last, step)):
        position = FramePosition(top * MM_PER_PX / 1000, MM_PER_PX, MM_PER_PX)
        above = carried if number else 0
        shown = np.array(boxes, np.float32) - np.float32([0, top, 0, top])
        shown[:, [1, 3]] = shown[:, [1, 3]].clip(-above, rows)
        shown = shown[shown[:, 3] > shown[:, 1]]
        found = Detections(shown, np.full(len(shown), 0.9, np.float32), np.zeros(len(shown), np.int64))
        frame = Frame(number, np.zeros((rows, 1), np.uint8), 0.0, "x", position, follows_on=step == rows)
        ledger.inspected(frame, found, [], None, shared_lines=carried)
    return [event.data["reason"] for event in stops.events() if event.kind == WOULD_BE_STOP]


@settings(max_examples=60, deadline=None)
@given(planted(), looks())
def test_the_count_is_that_of_distinct_defects_however_lines_are_blocked(boxes, look):
    """One that lies across a seam, or in several frames that overlap, is one; three picks are three."""
    count = len(boxes)
    reasons = reasons_of(boxes, look, count)
    assert len(reasons) == 1
    assert reasons[0].startswith(f"{counted(count, 'detection')} of broken within ")
    assert reasons_of(boxes, look, count + 1) == []
