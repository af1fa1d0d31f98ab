from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.labels.sam.masks import (
    TrueMask,
    from_outlines,
    from_pixels,
    from_run_lengths,
    main_piece,
    outline_of,
    overlap,
)
from distill.labels.sets.annotations import box_around
from edge.dataset.image import run_lengths
from edge.simulator.ground_truth import SeenDefect, tight_box

SIZE = (24, 32)


def blob(rows, columns):
    mask = np.zeros(SIZE, np.uint8)
    mask[rows, columns] = 1
    return mask


@st.composite
def ellipses(draw):
    mask = np.zeros((40, 60), np.uint8)
    centre = draw(st.integers(12, 48)), draw(st.integers(12, 28))
    axes = draw(st.integers(2, 10)), draw(st.integers(2, 10))
    cv2.ellipse(mask, centre, axes, draw(st.integers(0, 180)), 0, 360, 1, -1)
    return mask


@given(mask=ellipses())
def test_an_outline_filled_again_gives_the_mask(mask):
    outline = outline_of(mask, tolerance_px=0.0)
    again = from_outlines([outline], mask.shape)
    assert overlap(again.within(0, 0, mask.shape), mask) >= 0.9


@given(mask=ellipses(), tolerance_px=st.sampled_from([0.0, 0.5, 1.0]))
def test_the_box_around_an_outline_is_the_tight_box(mask, tolerance_px):
    drawn, tight = box_around(outline_of(mask, tolerance_px)), tight_box(mask)
    assert np.abs(np.subtract(drawn, tight)).max() <= tolerance_px + 1e-6


@pytest.mark.parametrize(
    ("rows", "columns"),
    [(slice(5, 6), slice(7, 8)), (slice(5, 6), slice(3, 20)), (slice(0, 24), slice(9, 11)),
     (slice(0, 24), slice(0, 32))],
    ids=["one pixel", "one row", "a thin yarn", "everything"],
)  # fmt: skip
def test_thin_and_small_masks_have_outlines_too(rows, columns):
    mask = blob(rows, columns)
    outline = outline_of(mask, tolerance_px=0.5)
    assert len(outline) >= 3
    assert np.abs(np.subtract(box_around(outline), tight_box(mask))).max() <= 0.51


def test_an_empty_mask_has_none():
    empty = np.zeros(SIZE, np.uint8)
    assert outline_of(empty, 0.5) is None
    assert from_pixels(empty) is None
    assert from_outlines([((40.0, 40.0), (50.0, 40.0), (45.0, 50.0))], SIZE) is None
    assert not main_piece(empty, (0.0, 0.0, 10.0, 10.0)).any()


def test_the_piece_with_most_pixels_within_the_box_is_kept():
    small, large = blob(slice(2, 6), slice(2, 6)), blob(slice(12, 24), slice(12, 32))
    assert (main_piece(small | large, (0.0, 0.0, 8.0, 8.0)) == small).all()
    assert (main_piece(small | large, (0.0, 0.0, 32.0, 24.0)) == large).all()
    assert not main_piece(large, (0.0, 0.0, 8.0, 8.0)).any()


@given(data=st.data())
def test_run_lengths_of_the_simulator_come_back(data):
    bits = data.draw(st.lists(st.booleans(), min_size=12, max_size=12))
    mask = np.array(bits, np.uint8).reshape(3, 4)
    mask[0, 0] = mask[2, 3] = 1
    seen = SeenDefect(1, "hole", "broken", "obvious", (5, 2, 9, 5), mask)
    counts = run_lengths(seen, SIZE)["counts"]
    read = from_run_lengths(counts, SIZE)
    assert read.box_xyxy_px == (5.0, 2.0, 9.0, 5.0)
    assert (read.mask == mask).all()


@pytest.mark.parametrize("counts", [[3, 4], [-1, 24 * 32 + 1], []], ids=str)
def test_run_lengths_that_do_not_add_up_are_refused(counts):
    with pytest.raises(ValueError, match="add up"):
        from_run_lengths(counts, SIZE)


@given(left=st.integers(-40, 40), top=st.integers(-40, 40))
def test_a_window_shows_what_the_image_has_there(left, top):
    true = TrueMask(3, 4, np.ones((5, 6), np.uint8))
    whole = np.zeros((200, 200), np.uint8)
    whole[104:109, 103:109] = 1
    assert (true.within(left, top, SIZE) == whole[100 + top : 124 + top, 100 + left : 132 + left]).all()


def test_overlap_of_nothing_with_nothing_is_whole():
    empty, some = np.zeros(SIZE, np.uint8), blob(slice(0, 4), slice(0, 4))
    assert overlap(empty, empty) == 1
    assert overlap(empty, some) == 0
    assert overlap(some, blob(slice(0, 4), slice(0, 2))) == 0.5
