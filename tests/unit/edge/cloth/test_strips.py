from __future__ import annotations

import numpy as np
import pytest

from edge.cameras.protocol import Frame
from edge.cloth.strips import Seam, on_own_lines
from edge.core.detections import Detections


def block(frame_id: int, lines: int = 8, width: int = 4, *, follows_on: bool = True) -> Frame:
    """A block whose lines hold their number on the roll."""
    rows = np.arange(frame_id * lines, (frame_id + 1) * lines, dtype=np.uint8)
    return Frame(frame_id, np.repeat(rows[:, None], width, axis=1), 0.0, "roll", follows_on=follows_on)


def lines_of(image):
    return image[:, 0].tolist()


def test_the_last_lines_are_carried_over():
    seam = Seam(3)
    assert lines_of(seam.image(block(0))[0]) == list(range(8))
    image, carried = seam.image(block(1))
    assert (lines_of(image), carried) == (list(range(5, 16)), 3)


def test_blocks_shorter_than_what_is_carried_add_up():
    seam = Seam(5)
    images = [seam.image(block(number, lines=2)) for number in range(5)]
    assert [carried for _, carried in images] == [0, 2, 4, 5, 5]
    assert lines_of(images[4][0]) == list(range(3, 10))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (block(0), block(2)),
        (block(0), block(1, follows_on=False)),
        (block(0, follows_on=False), block(1)),
        (block(0), block(1, width=6)),
    ],
    ids=["one was dropped", "an image of its own", "after an image of its own", "another width"],
)
def test_nothing_is_carried_where_the_cloth_does_not_go_on(first, second):
    seam = Seam(3)
    seam.image(first)
    assert seam.image(second)[1] == 0


def test_without_lines_nothing_is_carried():
    seam = Seam(0)
    seam.image(block(0))
    assert seam.image(block(1))[1] == 0


def test_boxes_are_cut_at_the_frames_own_lines():
    boxes = np.array([[0, -9, 4, -2], [0, -9, 4, 5], [1, 2, 3, 4], [0, -3, 2, 0]], np.float32)
    found = Detections(boxes, np.full(4, 0.5, np.float32), np.zeros(4, np.int64))
    assert on_own_lines(found).boxes_xyxy_px.tolist() == [[0, 0, 4, 5], [1, 2, 3, 4]]
    assert found.boxes_xyxy_px[1, 1] == -9
