"""What a camera sees of the width of the cloth: offsets, selvedges, stated widths, and what is beside."""

from __future__ import annotations

import numpy as np
import pytest

from edge.cameras.protocol import FramePosition
from edge.cloth.mask import ClothMask
from edge.cloth.width import Across, Strip, ViewWidth, across_of, joined, strip_of, together


def strip(width_px, left=None, right=None, offset_mm=None, columns=None):
    known_left = left if offset_mm is None else -offset_mm / 0.2
    return strip_of(FramePosition(0.0, 0.2, 0.2, known_left, right), width_px, columns)


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({}, (0, 200)),
        ({"left": 100.0, "right": 900.0}, (0, 160)),
        ({"left": -100.0, "right": 1100.0}, (20, 220)),
        ({"offset_mm": 190.0}, (190, 390)),
        ({"offset_mm": -20.0}, (0, 180)),
        ({"offset_mm": -500.0}, (500, 500)),
        ({"offset_mm": 190.0, "right": 900.0}, (190, 370)),
        ({"offset_mm": 190.0, "right": -50.0}, (190, 190)),
        ({"columns": (64.0, 1000.0)}, (0, 200)),
        ({"columns": (400.0, 1000.0)}, (80, 200)),
        ({"columns": (0.0, 600.0), "offset_mm": 100.0}, (100, 220)),
    ],
    ids=str,
)
def test_the_strip_of_a_view_of_1000_px(given, seen):
    found = strip(1000, **given)
    assert found.width_mm == pytest.approx(seen[1] - seen[0])
    if found.width_mm:
        assert tuple(found) == pytest.approx(seen)


@pytest.mark.parametrize(
    ("offset_mm", "stated_mm", "measured_mm", "view", "width_mm", "seen_mm"),
    [
        pytest.param(None, 1600, None, (0, 819.2), 1600, 819.2, id="narrower than the cloth"),
        pytest.param(None, 700, None, (0, 819.2), 700, 700, id="wider than the cloth"),
        pytest.param(None, 700, None, (100, 800), 700, 700, id="the machine left of it, no offset"),
        pytest.param(190, None, 379.8, (190, 379.8), 189.8, 189.8, id="measured, beside another"),
        pytest.param(1480, 1480, None, (1480, 2980), 1480, 1480, id="stated for its part"),
        pytest.param(781, 1600, None, (781, 1640), 819, 819, id="stated for the whole"),
        pytest.param(-20, 1500, None, (0, 1480), 1500, 1480, id="begins beside the cloth"),
        pytest.param(-500, 1500, None, (500, 500), 1500, 0, id="all beside the cloth"),
        pytest.param(2000, 1500, None, (2000, 2800), 1500, 800, id="offset beyond the width"),
        pytest.param(400, None, 300, (400, 400), 0, 0, id="right of the cloth"),
        pytest.param(0, 1500, None, None, 1500, 1500, id="view not recorded"),
        pytest.param(0, None, None, (0, 800), None, None, id="width not known"),
    ],
)
def test_what_is_graded(offset_mm, stated_mm, measured_mm, view, width_mm, seen_mm):
    across = across_of(offset_mm, stated_mm, measured_mm, None if view is None else Strip(*view))
    assert across.width_mm == (None if width_mm is None else pytest.approx(width_mm))
    assert across.seen_mm == (None if seen_mm is None else pytest.approx(seen_mm))
    assert across.unseen_mm == pytest.approx((width_mm or 0) - (seen_mm or 0))


def test_strips_nearer_than_a_millimetre_are_one():
    assert joined([Strip(190, 380), Strip(0, 189.8), Strip(50, 50)]) == (Strip(0, 380),)
    both = together([Across(Strip(0, 500), (Strip(0, 400),)), Across(Strip(450, 900), (Strip(450, 900),))])
    assert both.unseen == (Strip(400, 450),)
    assert (both.width_mm, both.seen_mm) == (900, 850)


def test_the_mean_is_over_lines_of_all_runs():
    view = ViewWidth()
    view.add(Strip(0, 100), 10)
    view.add(Strip(20, 100), 30)
    assert view.strip() == Strip(15, 100)
    assert view.strip(Strip(55, 140), 40) == Strip(35, 120)
    assert ViewWidth().strip() is None


def test_columns_of_a_mask():
    cells = np.zeros((3, 5), np.bool_)
    assert ClothMask(cells, (24, 36)).columns() == (0, 0)
    cells[1, 1:], cells[2, :3] = True, True
    assert ClothMask(cells, (24, 36)).columns() == (4, 30)
