"""Views cover every pixel, and boxes come back from the network's input to where they were."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.core.geometry import frame_from_input, input_from_frame, letterbox_view, plan_tiles, tile_starts

sizes = st.integers(1, 3000)
inputs = st.tuples(st.sampled_from([32, 64, 256, 640]), st.sampled_from([32, 64, 256, 640]))


@given(length=sizes, tile=st.integers(1, 700), data=st.data())
def test_tiles_cover_a_length_with_the_least_number(length, tile, data):
    overlap = data.draw(st.integers(0, tile - 1))
    starts = tile_starts(length, tile, overlap)
    ends = [min(start + tile, length) for start in starts]
    assert starts[0] == 0
    assert ends[-1] == length
    assert all(end - start >= overlap for start, end in zip(starts[1:], ends, strict=False))
    if len(starts) > 1:
        assert (len(starts) - 1) * (tile - overlap) + overlap < length


@given(frame=st.tuples(sizes, sizes), size=inputs, scale=st.floats(0.3, 3), data=st.data())
def test_every_pixel_of_a_frame_lies_in_a_tile(frame, size, scale, data):
    overlap = data.draw(st.integers(0, min(size) // 2))
    views = plan_tiles(frame, size, overlap, scale)
    rows = np.zeros(frame[0], bool)
    columns = np.zeros(frame[1], bool)
    for view in views:
        rows[view.top_px : view.bottom_px] = True
        columns[view.left_px : view.right_px] = True
        assert view.scaled_size_hw_px()[0] <= size[0] + 1
        assert view.scaled_size_hw_px()[1] <= size[1] + 1
    assert rows.all()
    assert columns.all()
    assert len(views) == len({view.top_px for view in views}) * len({view.left_px for view in views})


def boxes_in(left, top, right, bottom):
    return st.tuples(
        st.floats(left, right), st.floats(top, bottom), st.floats(left, right), st.floats(top, bottom)
    ).map(
        lambda b: np.array(
            [[min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3])]], np.float32
        )
    )


@given(frame=st.tuples(sizes, sizes), size=inputs, scale=st.floats(0.3, 3), data=st.data())
def test_boxes_round_trip_through_tiles(frame, size, scale, data):
    view = data.draw(st.sampled_from(plan_tiles(frame, size, 8, scale)))
    box = data.draw(boxes_in(view.left_px, view.top_px, view.right_px, view.bottom_px))
    assert np.abs(frame_from_input(input_from_frame(box, view), view) - box).max() < 0.01


@given(frame=st.tuples(sizes, sizes), size=inputs, data=st.data())
def test_boxes_round_trip_through_the_letterbox(frame, size, data):
    view = letterbox_view(frame, size)
    box = data.draw(boxes_in(0, 0, frame[1], frame[0]))
    inside = input_from_frame(box, view)
    assert inside.min() >= 0
    assert (inside <= np.array([size[1], size[0]] * 2) + 1).all()
    assert np.abs(frame_from_input(inside, view) - box).max() < 0.01
