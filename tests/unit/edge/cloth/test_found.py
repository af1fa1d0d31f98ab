"""Defects and gaps of a roll of months: counted for ever, kept to a bound, with the same sums."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cameras.protocol import Frame, FramePosition
from edge.cloth import found as found_module
from edge.cloth import gaps as gaps_module
from edge.cloth.coverage import Coverage
from edge.cloth.defects import ClothDefect
from edge.cloth.found import DefectsFound
from edge.cloth.gaps import GapList
from edge.cloth.grading import points_by_unit
from edge.roll.reading import read_roll
from edge.roll.recorder import RollRecorder
from edge.roll.values import RollHead

defects = st.builds(
    lambda start_m, length_m, name: ClothDefect(name, 0.9, start_m, start_m + length_m, 0.0, 10.0),
    st.floats(-1, 20),
    st.floats(0.001, 4),
    st.sampled_from(["broken", "drop"]),
)


@given(st.lists(st.lists(defects, max_size=4), max_size=8), st.integers(1, 30))
def test_counts_and_points_are_those_of_all_whatever_is_kept(parts, most_kept):
    found, everything = DefectsFound(most_kept), [defect for part in parts for defect in part]
    for part in parts:
        found += part
    assert len(found) == len(everything)
    assert list(found) == everything[-most_kept:]
    assert found.forgotten == max(0, len(everything) - most_kept)
    assert found.points == sum(points_by_unit(everything).values())
    assert sum(found.by_class.values()) == len(everything)


def test_pieces_are_bounded_and_those_of_the_forgotten_count_no_more(monkeypatch):
    monkeypatch.setattr(found_module, "MOST_PIECES_KEPT", 5)
    piece = ClothDefect("broken", 0.9, 0, 0.1, 0, 1)
    found = DefectsFound(most_kept=3)
    found += [replace(piece, pieces=(piece,) * 2) for _ in range(3)]
    assert [len(defect.pieces) for defect in found] == [2, 2, 0]
    found += [replace(piece, pieces=(piece,) * 2)]
    assert [len(defect.pieces) for defect in found] == [2, 0, 2]


def test_gaps_are_forgotten_but_not_their_lines(monkeypatch):
    monkeypatch.setattr(gaps_module, "FORGET_AT_ONCE", 0)
    gaps = GapList()
    for start in range(0, 1000, 10):
        gaps.set(start, start + 3, "overrun")
    gaps.forget(5)
    assert len(gaps) == 100  # they have changed and nobody has written them
    gaps.take_changed()
    gaps.forget(5)
    assert [gap.start for gap in gaps] == [950, 960, 970, 980, 990]
    assert gaps.lines_of("overrun") == 300
    gaps.clear(0, 955)  # what is forgotten stays as it is
    assert (gaps.lines_of("overrun"), gaps.changed_from) == (297, 950)


def test_gaps_that_touch_are_not_parted(monkeypatch):
    monkeypatch.setattr(gaps_module, "FORGET_AT_ONCE", 0)
    gaps = GapList()
    for start in range(0, 40, 10):
        gaps.set(start, start + 10, "overrun" if start % 20 else "lamp")
    gaps.take_changed()
    gaps.forget(1)
    assert len(gaps) == 4


@pytest.mark.parametrize("backwards", [0, 350], ids=["forward only", "and back over all of it"])
def test_a_record_adds_up_while_gaps_are_forgotten(monkeypatch, backwards):
    monkeypatch.setattr(gaps_module, "FORGET_AT_ONCE", 0)
    coverage = Coverage()

    def passed(line):
        position = FramePosition(line / 1000, 1.0, 1.0)
        coverage.passed(Frame(0, np.zeros((6, 4), np.uint8), 0.0, "test", position))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.db"
        with RollRecorder(path, RollHead("loom", "", {})) as recorder:
            for line in [*range(0, 400, 10), *range(400 - backwards, 400, 5), *range(400, 600, 10)]:
                passed(line)
                recorder.event("tick", "")
                recorder.add([], coverage, None)
                coverage.gap_list.forget(4)
                roll = read_roll(path, None)
                gap_lines = sum(gap.lines for gap in roll.gaps)
                assert roll.head["inspected_lines"] + gap_lines == roll.head["passed_lines"]
        assert len(coverage.gap_list) == 4
