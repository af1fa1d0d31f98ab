"""Every line that passed is inspected or in a gap, whatever frames do; strips do not depend on blocks."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.cameras.protocol import GAP_REASONS, Frame, FramePosition
from edge.cloth.coverage import Coverage
from edge.cloth.strips import Strips

MM = 0.3
steps = st.lists(
    st.tuples(
        st.integers(-60, 60),  # from the end of the frame before: overlaps, jumps, runs back
        st.integers(1, 40),  # lines
        st.sampled_from(["seen", "dropped", "bare", "half"]),
        st.sampled_from(["lost lines", "camera down"]),
    ),
    min_size=1,
    max_size=30,
)


def frame(frame_id, first_line, lines, reason="lost lines"):
    position = FramePosition(first_line * MM / 1000, MM, 1.0)
    image = np.zeros((lines, 2), np.uint8)
    return Frame(frame_id, image, 0.0, "test", position, follows_on=True, missing_before=reason)


class LineByLine:
    """The same account, kept for every line by itself."""

    def __init__(self):
        self.state = {}
        self.first = self.reached = None

    def jump_to(self, line, reason):
        if self.first is None:
            self.first = self.reached = line
        self.put(range(self.reached, line), reason)

    def put(self, lines, what):
        for line in lines:
            if line < self.first or self.state.get(line) == "inspected":
                continue
            if what in ("inspected", "no cloth") or line >= self.reached:
                self.state[line] = what
        self.reached = max([self.reached, *(line + 1 for line in lines)])


@given(st.integers(0, 10**7), steps)
def test_inspected_and_gaps_are_what_passed_line_by_line(begin, steps):
    coverage, model, end = Coverage(), LineByLine(), begin
    for number, (step, lines, what, reason) in enumerate(steps):
        first = max(0, end + step)
        end = first + lines
        one = frame(number, first, lines, reason)
        if what == "dropped":
            model.jump_to(first, "lost lines")
            model.put(range(first, end), "overrun")
            coverage.missed(one.position, lines, "overrun")
            continue
        bare = {"seen": 0, "bare": lines, "half": lines // 2}[what]
        model.jump_to(first, reason)
        model.put(range(first, first + bare), "no cloth")
        model.put(range(first + bare, end), "inspected")
        coverage.passed(one, np.arange(lines) >= bare)
    counted = list(model.state.values())
    assert sorted(model.state) == list(range(coverage.first_line, coverage.reached_line))
    assert coverage.lines_inspected == counted.count("inspected")
    for reason in GAP_REASONS:
        assert coverage.gap_lines(reason) == counted.count(reason), reason
    assert coverage.lines_inspected + sum(map(coverage.gap_lines, GAP_REASONS)) == coverage.lines_delivered
    listed = {line: gap.reason for gap in coverage.gap_list for line in range(gap.start, gap.end)}
    assert listed == {line: what for line, what in model.state.items() if what != "inspected"}
    for left, right in zip(list(coverage.gap_list)[:-1], list(coverage.gap_list)[1:], strict=True):
        assert left.end < right.start or (left.end == right.start and left.reason != right.reason)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 40), st.integers(0, 10**6))
def test_strips_do_not_depend_on_blocks(heights, lines, begin):
    strips, out, first = Strips(lines), [], begin
    for number, height in enumerate(heights):
        block = frame(number, first, height)
        block.image[:] = (np.arange(first, first + height) % 251)[:, None]
        out += strips.add(block)
        first += height
    out += strips.flush()
    total = sum(heights)
    assert [strip.position.first_line for strip in out] == list(range(begin, begin + total, lines))
    assert [strip.frame_id for strip in out] == list(range(len(out)))
    joined = np.concatenate([strip.image for strip in out])[:, 0]
    assert joined.tolist() == [line % 251 for line in range(begin, begin + total)]
    assert all(len(strip.image) == lines for strip in out[:-1])


@given(steps, st.integers(1, 40))
def test_strips_lose_and_repeat_no_line_at_jumps(steps, height):
    strips, out, end, expected = Strips(height), [], 0, []
    for number, (step, lines, _, _) in enumerate(steps):
        first = max(0, end + step)
        end = first + lines
        expected += range(first, end)
        out += strips.add(frame(number, first, lines))
    out += strips.flush()
    places = [(strip.position.first_line, len(strip.image)) for strip in out]
    assert [line for first, count in places for line in range(first, first + count)] == expected
    ids = [strip.frame_id for strip in out]
    assert ids == sorted(set(ids))
    assert all(count <= height for _, count in places)
