from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cloth.mask import ClothMask


def mask_of(cells, size_hw_px=None):
    cells = np.asarray(cells, np.bool_)
    return ClothMask(cells, size_hw_px or (cells.shape[0] * 8, cells.shape[1] * 8))


def test_lines_with_any_cloth():
    mask = mask_of([[0, 0], [0, 1], [0, 0]], (20, 16))
    assert mask.lines().tolist() == [False] * 8 + [True] * 8 + [False] * 4
    assert mask.fraction == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("box", "fraction"),
    [
        ((8, 0, 16, 8), 1.0),
        ((0, 0, 8, 8), 0.0),
        ((4, 0, 12, 8), 0.5),
        ((9, 3, 10, 4), 1.0),
        ((0, 0, 16, 16), 0.25),
        ((-100, -100, 116, 116), 0.25),
        ((12, -50, 16, 8), 1.0),
        ((8, 4, 12, 12), 0.5),
        ((3, 3, 3, 9), 1.0),
        ((40, 40, 50, 50), 1.0),
    ],
    ids=[
        "in",
        "off",
        "half",
        "within a cell",
        "all",
        "beyond all sides",
        "above",
        "down",
        "no area",
        "outside",
    ],
)
def test_how_much_of_a_box_lies_on_cloth(box, fraction):
    mask = mask_of([[0, 1], [0, 0]])
    assert mask.fraction_in(np.array([box], np.float32)).tolist() == [pytest.approx(fraction)]


def test_no_boxes():
    assert mask_of([[1]]).fraction_in(np.zeros((0, 4), np.float32)).shape == (0,)


@given(st.integers(0, 2**32 - 1), st.integers(1, 50), st.integers(1, 50))
def test_shares_are_those_counted_pixel_by_pixel(seed, height, width):
    rng = np.random.default_rng(seed)
    cells = rng.random((-(-height // 8), -(-width // 8))) < 0.5
    whole = np.repeat(np.repeat(cells, 8, 0), 8, 1)[:height, :width]
    left, right = sorted(rng.integers(0, width + 1, 2))
    top, bottom = sorted(rng.integers(0, height + 1, 2))
    part = whole[top:bottom, left:right]
    expected = part.mean() if part.size else 1.0
    box = np.array([[left, top, right, bottom]], np.float32)
    assert mask_of(cells, (height, width)).fraction_in(box)[0] == pytest.approx(expected, abs=1e-6)


def test_an_edge_is_where_cloth_ends_and_not_where_the_image_does():
    cells = np.ones((6, 8), np.bool_)
    cells[:2] = False
    inner = mask_of(cells).without_edge(16)
    assert inner.cells.tolist() == [[False] * 8] * 4 + [[True] * 8] * 2
    along_edge, further_in = [0, 10, 64, 40], [0, 24, 64, 48]
    assert mask_of(cells).fraction_in([along_edge, further_in]).tolist() == pytest.approx([0.8, 1.0])
    assert inner.fraction_in([along_edge, further_in]).tolist() == pytest.approx([8 / 30, 2 / 3])
    whole = mask_of(np.ones((3, 3)))
    assert whole.without_edge(100) is whole


@given(
    st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=6),
    st.floats(0, 60),
    st.floats(0, 60),
)
def test_a_wider_margin_leaves_less_cloth(cells, one, other):
    narrow, wide = (mask_of(cells).without_edge(margin).cells for margin in sorted((one, other)))
    assert not (wide & ~narrow).any()
    assert not (narrow & ~np.array(cells)).any()
