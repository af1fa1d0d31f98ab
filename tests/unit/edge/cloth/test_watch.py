from __future__ import annotations

import numpy as np
import pytest

from edge.cameras.protocol import Frame, FramePosition
from edge.cloth.coverage import Coverage
from edge.cloth.finder import ClothWatch, GrainFinder
from edge.cloth.mask import ClothMask

IMAGE = np.full((16, 16), 40, np.uint8)


class FinderThatSays:
    """Give these masks in turn."""

    def __init__(self, *masks):
        self._masks = iter(masks)
        self.asked = 0

    def find(self, image):
        self.asked += 1
        return ClothMask(np.array(next(self._masks), np.bool_).reshape(2, 2), image.shape[:2])


def test_a_finder_is_believed_from_the_first_image_that_is_half_cloth():
    watch = ClothWatch(FinderThatSays([0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]))
    looked = [watch.look(IMAGE, None) for _ in range(5)]
    assert [mask if mask is None else mask.fraction for mask in looked] == [None, None, 0.5, 0.0, 0.25]


def belt(grey):
    """Return a belt with noise and a few bright specks of dust."""
    image = np.random.default_rng(0).normal(grey, 1, (256, 512)).clip(0, 255).astype(np.uint8)
    image[8:16, 40:48] = image[200:208, 300:308] = 90
    return image


@pytest.mark.parametrize(("grey", "fraction"), [(3, 0.0), (40, None)], ids=["black", "grey"])
def test_only_a_black_belt_is_believed_to_be_empty_before_cloth_was_seen(grey, fraction):
    mask = ClothWatch(GrainFinder()).look(belt(grey), None)
    assert (mask if mask is None else mask.fraction) == fraction


def test_a_dark_image_with_grain_in_it_is_not_called_empty():
    assert ClothWatch(FinderThatSays([1, 0, 0, 0])).look(np.zeros((16, 16), np.uint8), None) is None


@pytest.mark.parametrize(
    ("left_px", "right_px", "asked"), [(2.0, 14.0, 0), (None, 14.0, 1), (2.0, None, 1), (None, None, 1)]
)
def test_a_camera_that_knows_both_selvedges_is_believed(left_px, right_px, asked):
    finder = FinderThatSays([1, 1, 1, 1])
    position = FramePosition(0.0, 1.0, 1.0, left_px, right_px)
    mask = ClothWatch(finder).look(IMAGE, position)
    assert finder.asked == asked
    assert (mask is None) == (asked == 0)


def frame(along_m=None, height=100):
    position = None if along_m is None else FramePosition(along_m, 1.0, 1.0)
    return Frame(0, np.zeros((height, 10), np.uint8), 0.0, "test", position)


def lines(*parts):
    """Return 10 lines for each part."""
    return np.repeat(np.array(parts, np.bool_), 10)


def test_lines_without_cloth_are_a_gap_with_its_reason():
    coverage = Coverage()
    coverage.passed(frame(0.0), lines(*[1] * 10))
    coverage.passed(frame(0.1), lines(*[1] * 4, *[0] * 6))
    coverage.passed(frame(0.2), lines(*[0] * 10))
    coverage.passed(frame(0.4))
    assert (coverage.frames_inspected, coverage.frames_without_cloth) == (3, 1)
    assert coverage.metres_inspected == pytest.approx(0.24)
    assert coverage.metres_without_cloth == pytest.approx(0.16)
    assert coverage.lost_m == pytest.approx(0.1)
    assert coverage.gap_m == pytest.approx(0.26)
    assert coverage.fraction == pytest.approx(0.48)


def test_of_frames_that_overlap_the_new_lines_count():
    coverage = Coverage()
    coverage.passed(frame(0.0), lines(*[1] * 5, *[0] * 5))
    coverage.passed(frame(0.05), lines(*[0] * 7, *[1] * 3))
    coverage.passed(frame(0.05), lines(*[0] * 10))
    assert coverage.metres_inspected == pytest.approx(0.05 + 0.03)
    assert coverage.metres_without_cloth == pytest.approx(0.05 + 0.02)


def test_an_unreadable_image_is_as_long_as_the_others_with_and_without_cloth():
    coverage = Coverage()
    coverage.passed(frame(0.0), lines(*[0] * 10))
    coverage.passed(frame(0.1))
    coverage.frames_unreadable = 1
    assert coverage.lost_m == pytest.approx(0.1)
    assert coverage.gap_m == pytest.approx(0.2)


def test_frames_without_cloth_where_nobody_knows_metres():
    coverage = Coverage()
    coverage.passed(frame(), lines(*[0] * 10))
    coverage.passed(frame(), lines(*[0] * 9, 1))
    assert coverage.fraction == 0.5
    assert not coverage.knows_metres
