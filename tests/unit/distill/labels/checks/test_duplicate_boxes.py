from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from distill.labels.checks.duplicate_boxes import DUPLICATE_IOU, duplicates
from distill.labels.sets.annotations import Region
from edge.core.geometry import iou_matrix


def boxes(*corners, label="drop"):
    return [Region(label, corner) for corner in corners]


def test_a_box_labelled_twice_is_named():
    regions = boxes((10, 10, 50, 50), (100, 10, 140, 50), (10.5, 10, 50, 50))
    assert list(duplicates(regions)) == [(0, 2)]


def test_of_three_alike_two_are_named():
    assert list(duplicates(boxes(*[(10, 10, 50, 50)] * 3))) == [(0, 1), (0, 2)]


def test_other_classes_and_lesser_overlap_are_no_duplicates():
    regions = [*boxes((10, 10, 50, 50), (14, 10, 54, 50)), *boxes((10, 10, 50, 50), label="broken")]
    assert list(duplicates(regions)) == []


def test_equal_boxes_without_area_are_duplicates():
    assert list(duplicates(boxes((5, 5, 5, 9), (5, 5, 5, 9), (5, 6, 5, 9)))) == [(0, 1)]


SIDE = st.integers(0, 40)
BOX = st.builds(lambda x, y, w, h: (x, y, x + w + 1, y + h + 1), SIDE, SIDE, SIDE, SIDE)


@given(st.lists(BOX, max_size=30))
def test_as_comparing_every_pair_says(corners):
    array = np.array(corners, np.float32).reshape(-1, 4)
    overlaps = iou_matrix(array, array)
    alike = [pair for pair in combinations(range(len(corners)), 2) if overlaps[pair] >= DUPLICATE_IOU]
    found = list(duplicates(boxes(*corners)))
    assert set(found) <= set(alike)
    assert {place for pair in alike for place in pair} == {place for pair in found for place in pair}
