"""The kind of a defect is that of the cloth: turned, moved, brighter or darker it is the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.cloth.appearance import measure_appearance
from edge.cloth.kinds import kind_of
from edge.core.taxonomy import load_taxonomy

SCALE_MM = 0.2
SIDE_PX = 240
MIDDLE = SIDE_PX // 2


def cloth(seed):
    """Plain weave of four pixels a yarn, with noise: (240, 240) float."""
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[:SIDE_PX, :SIDE_PX]
    weave = 12 * np.sin(ys * np.pi / 2) * np.sin(xs * np.pi / 2)
    return 110 + weave + rng.normal(0, 4, (SIDE_PX, SIDE_PX))


def missing_yarn(image):
    image[MIDDLE - 60 : MIDDLE + 60, MIDDLE - 2 : MIDDLE + 2] -= 60
    return image, (MIDDLE - 4.0, MIDDLE - 60.0, MIDDLE + 4.0, MIDDLE + 60.0)


def loose_yarn(image):
    for step in range(-60, 60):
        middle = MIDDLE + round(25 * np.sin(step / 18))
        image[MIDDLE + step, middle - 2 : middle + 3] -= 60
    return image, (MIDDLE - 28.0, MIDDLE - 60.0, MIDDLE + 28.0, MIDDLE + 60.0)


def disc(image, radius_px, by, hides_weave):
    ys, xs = np.mgrid[:SIDE_PX, :SIDE_PX] - MIDDLE
    inside = np.hypot(ys, xs) <= radius_px
    image[inside] = 110 + by if hides_weave else image[inside] + by
    low, high = MIDDLE - radius_px - 2.0, MIDDLE + radius_px + 2.0
    return image, (low, low, high, high)


FIGURES = {
    "broken end": ("broken", missing_yarn),
    "broken yarn": ("broken", loose_yarn),
    "hole": ("broken", lambda image: disc(image, 20, -80, True)),
    "nep": ("drop", lambda image: disc(image, 4, 70, True)),
    "stain": ("drop", lambda image: disc(image, 24, -40, False)),
}


def seen_kind(image, box, class_name):
    grey = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    seen = measure_appearance(grey, box, (SCALE_MM, SCALE_MM))
    left, top, right, bottom = box
    return kind_of(class_name, (bottom - top) * SCALE_MM, (right - left) * SCALE_MM, seen), seen


def turned_box(box):
    """The box in an image that was turned by 90 degrees to the left, as `np.rot90` turns it."""
    left, top, right, bottom = box
    return top, SIDE_PX - right, bottom, SIDE_PX - left


@pytest.mark.parametrize("kind", FIGURES)
@given(seed=st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_each_kind_is_found_and_a_quarter_turn_exchanges_end_and_pick(kind, seed):
    class_name, draw = FIGURES[kind]
    image, box = draw(cloth(seed))
    found, seen = seen_kind(image, box, class_name)
    assert found == kind
    assert seen.thickness_mm <= SCALE_MM * (min(box[2] - box[0], box[3] - box[1]) + 2)
    turned, turned_seen = seen_kind(np.rot90(image), turned_box(box), class_name)
    assert turned == (load_taxonomy().kind(kind).quarter_turn or kind)
    assert turned_seen.straight_along == pytest.approx(seen.straight_across, abs=0.01)
    assert turned_seen.thickness_mm == pytest.approx(seen.thickness_mm, abs=0.2)


@pytest.mark.parametrize("kind", FIGURES)
@given(seed=st.integers(0, 1000), gain=st.floats(0.5, 1.2), offset=st.floats(-10, 10))
@settings(max_examples=8, deadline=None)
def test_brighter_and_darker_images_show_the_same_kind(kind, seed, gain, offset):
    class_name, draw = FIGURES[kind]
    image, box = draw(cloth(seed))
    assert seen_kind(gain * image + offset, box, class_name)[0] == kind


@pytest.mark.parametrize("kind", FIGURES)
@given(seed=st.integers(0, 1000), right=st.integers(-20, 20), down=st.integers(-20, 20))
@settings(max_examples=8, deadline=None)
def test_what_is_seen_does_not_depend_on_the_place_in_the_image(kind, seed, right, down):
    class_name, draw = FIGURES[kind]
    image, box = draw(cloth(seed))
    moved = np.pad(image, 20, mode="edge")
    moved = np.roll(moved, (down, right), axis=(0, 1))
    moved_box = tuple(side + 20 + by for side, by in zip(box, (right, down) * 2, strict=True))
    assert seen_kind(moved, moved_box, class_name) == seen_kind(image, box, class_name)


@pytest.mark.parametrize("kind", FIGURES)
def test_the_scale_of_the_camera_does_not_matter(kind):
    """At 0.1 mm a pixel the same cloth has four times the pixels; along and across may differ, too."""
    class_name, draw = FIGURES[kind]
    image, box = draw(cloth(3))
    grey = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    finer = np.repeat(np.repeat(grey, 2, axis=0), 4, axis=1)
    left, top, right, bottom = box
    finer_box = (4 * left, 2 * top, 4 * right, 2 * bottom)
    seen = measure_appearance(finer, finer_box, (SCALE_MM / 4, SCALE_MM / 2))
    size_mm = ((bottom - top) * SCALE_MM, (right - left) * SCALE_MM)
    assert kind_of(class_name, *size_mm, seen) == kind


def test_what_the_rules_do_not_know_has_no_kind():
    image, box = missing_yarn(cloth(1))
    seen = seen_kind(image, box, "broken")[1]
    assert kind_of("oil", 24.0, 1.6, seen) is None
    assert kind_of("unclassified", 24.0, 1.6, seen) is None
    assert kind_of("broken", 24.0, 1.6, None) is None
    assert kind_of("broken", 24.0, 1.6, replace(seen, straight_along=0.7, sway_mm=1.55)) is None


@pytest.mark.parametrize(
    "box",
    [(-5.0, -5.0, 3.0, 300.0), (230.0, 10.0, 250.0, 12.0), (5.0, 5.0, 5.5, 5.2), (0.0, 0.0, 240.0, 3.0)],
    ids=["beyond the left", "beyond the right", "less than a pixel", "whole width"],
)
def test_boxes_at_the_edge_of_the_image_are_measured(box):
    seen = seen_kind(cloth(1), box, "broken")[1]
    assert seen is not None
    assert all(np.isfinite(value) for value in (seen.fill, seen.weave, seen.sway_mm, seen.lighter))


@pytest.mark.parametrize(
    "box", [(300.0, 0.0, 310.0, 5.0), (-9.0, -9.0, 0.0, 0.0), (0.0, 0.0, 240.0, 240.0)],
    ids=["right of it", "left of it", "all of it"],
)  # fmt: skip
def test_a_box_without_cloth_around_it_in_the_image_is_not_measured(box):
    assert seen_kind(cloth(1), box, "broken")[1] is None
