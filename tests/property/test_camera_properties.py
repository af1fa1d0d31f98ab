"""Cameras beside each other see, and grade, what one wide camera would."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.cameras.protocol import Frame, FramePosition
from edge.core.detections import Detections
from edge.core.latency import StageClock
from edge.pipeline.ledger import Ledger
from edge.pipeline.parts import Results
from edge.pipeline.run_state import RunState
from edge.roll.part import RollPart
from edge.roll.recorder import RollRecorder
from edge.roll.side_by_side import read_roll_beside
from edge.roll.values import RollHead

LINES = 100
"""Of a frame; a pixel is a millimetre, both ways."""

NAMES = ("broken",)
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@dataclass(frozen=True)
class View:
    """Where a camera looks, in mm from the left selvedge, and which frames it loses."""

    left: int
    right: int
    lost: frozenset[int] = frozenset()
    stated_mm: float | None = None

    def record(self, path: Path, cloth_mm: int, frames: int, boxes: list[tuple[int, ...]]) -> Path:
        """Inspect a roll through the real account of a run."""
        settings = {
            "offset_mm": self.left,
            "cloth_width_mm": self.stated_mm,
            "grade_limits": {"first": 1e9},
        }
        head = RollHead("camera", "d" * 64, settings, "A17", None, self.stated_mm, {"first": 1e9})
        state = RunState(roll=RollPart(head.terms("A17")), class_names=NAMES)
        with RollRecorder(path, head) as recorder:
            ledger = Ledger(state, StageClock(), Results(recorder=recorder))
            for number in range(frames):
                if number not in self.lost:
                    ledger.inspected(*self._shown(number, cloth_mm, boxes), [], None)
            ledger.end()
        return path

    def _shown(self, number, cloth_mm, boxes):
        top, width = number * LINES, self.right - self.left
        right_px = None if self.stated_mm is not None else float(cloth_mm - self.left)
        position = FramePosition(top / 1000, 1.0, 1.0, None, right_px)
        image = np.zeros((LINES, width), np.uint8)
        frame = Frame(number, image, 0.0, "x", position, follows_on=True).at_offset(self.left)
        cut = [
            (max(x1 - self.left, 0), max(y1 - top, 0), min(x2 - self.left, width), min(y2 - top, LINES))
            for x1, y1, x2, y2 in boxes
        ]
        seen = np.array([box for box in cut if box[0] < box[2] and box[1] < box[3]], np.float32)
        found = Detections(
            seen.reshape(-1, 4), np.full(len(seen), 0.9, np.float32), np.zeros(len(seen), np.int64)
        )
        return frame, found


@st.composite
def rolls(draw):
    """(width of the cloth, frames, boxes on it): boxes lie one behind the other, of any width."""
    cloth_mm, frames = draw(st.integers(20, 1500)), draw(st.integers(2, 12))
    boxes, top = [], 0
    while len(boxes) < 8 and (top := top + draw(st.integers(10, 300))) < frames * LINES - 1:
        bottom = min(top + draw(st.integers(1, 400)), frames * LINES)
        left = draw(st.integers(0, cloth_mm - 1))
        boxes.append((left, top, draw(st.integers(left + 1, cloth_mm)), bottom))
        top = bottom
    return cloth_mm, frames, boxes


def stated(views, cloth_mm, how):
    """Let each camera state nothing, the width of its part, or that of the whole cloth."""
    widths = {
        "measured": lambda view: None,
        "part": lambda view: float(min(view.right, cloth_mm) - max(view.left, 0)),
        "whole": lambda view: float(cloth_mm),
    }
    return [View(view.left, view.right, view.lost, widths[how](view)) for view in views]


@st.composite
def cameras(draw, cloth_mm):
    """Views that together show all of the cloth, with any overlaps, and more than it on both sides."""
    how = draw(st.sampled_from(["measured", "part", "whole"]))
    reached, views = 0, []
    while reached < cloth_mm:
        first = -draw(st.integers(0, 50)) if not views else draw(st.integers(views[-1].left + 1, reached))
        reached = draw(st.integers(max(reached, first) + 1, max(reached, first) + cloth_mm // 3 + 30))
        if how == "whole":  # its rightmost view then ends at the cloth: beyond it the two readings meet
            reached = min(reached, cloth_mm)
        views.append(View(first, reached))
    return stated(views, cloth_mm, how)


def read(views, cloth_mm, frames, boxes):
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        paths = [
            view.record(Path(folder) / f"{number}.db", cloth_mm, frames, boxes)
            for number, view in enumerate(views)
        ]
        return read_roll_beside(paths, None)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_n_cameras_grade_as_one_wide_camera_does(data):
    cloth_mm, frames, boxes = data.draw(rolls())
    wide = read([View(0, cloth_mm)], cloth_mm, frames, boxes)
    together = read(data.draw(cameras(cloth_mm)), cloth_mm, frames, boxes)
    assert together.width_mm == pytest.approx(cloth_mm)
    assert together.across.unseen == wide.across.unseen == ()
    assert together.inspected_m2 == pytest.approx(wide.inspected_m2, rel=1e-6)
    assert together.inspected_m2 == pytest.approx(frames * LINES * cloth_mm / 1e6, rel=1e-6)
    assert len(together.defects) == len(wide.defects) == len(boxes)
    assert together.grade.points == wide.grade.points
    assert together.grade.points_per_100_m2 == pytest.approx(wide.grade.points_per_100_m2, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_the_area_is_what_any_camera_inspected_once(data):
    """With strips that no camera sees, and frames that one or all of them lose."""
    cloth_mm, frames, boxes = data.draw(rolls())
    one = st.builds(
        lambda left, wide, lost: View(left, left + wide, lost),
        st.integers(-100, cloth_mm + 50),
        st.integers(1, 900),
        st.frozensets(st.integers(1, frames - 1)),  # the roll of a camera begins with its first frame
    )
    views = data.draw(st.lists(one, min_size=1, max_size=4))
    together = read(views, cloth_mm, frames, boxes)
    grid = np.zeros((frames * LINES, cloth_mm), bool)
    for view in views:
        for number in set(range(frames)) - view.lost:
            lines = slice(number * LINES, (number + 1) * LINES)
            grid[lines, max(0, view.left) : max(0, min(view.right, cloth_mm))] = True
    assert together.inspected_m2 == pytest.approx(grid.sum() / 1e6, abs=1e-9)
    if together.inspected_m2 and together.grade.points:
        expected = together.grade.points * 100 / together.inspected_m2
        assert together.grade.points_per_100_m2 == pytest.approx(expected)
