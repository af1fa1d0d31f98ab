"""Cloth that is not the same everywhere is noticed, and clouds, lamps and defects are not taken for it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.reference.second_look import ReferenceView
from edge.teach.pattern import pattern_of, strips_to_sample

HEIGHT, WIDTH, STRIPS = 160, 1024, 10


def strips(seed=0, pitch_px=5.0, wave=12.0):
    """Return clean strips of a woven texture with clouds."""
    noise = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    weave = wave * np.sin(2 * np.pi * x / pitch_px) * np.sin(2 * np.pi * y / pitch_px)
    found = []
    for _ in range(STRIPS):
        clouds = cv2.resize(noise.normal(0, 2, (6, 40)).astype(np.float32), (WIDTH, HEIGHT))
        grey = 110 + weave + clouds + noise.normal(0, 6, (HEIGHT, WIDTH))
        found.append(grey)
    return found


def noticed(images, is_cloth=None):
    views = (ReferenceView(np.clip(one, 0, 255).astype(np.uint8), is_cloth, 1.0) for one in images)
    return pattern_of(views)


def test_cloth_that_is_the_same_everywhere_has_no_pattern():
    assert noticed(strips()) is None


def test_a_lamp_that_falls_off_to_the_sides_is_no_pattern():
    lamp = 1 - 0.5 * np.linspace(-1, 1, WIDTH) ** 2
    assert noticed([one * lamp for one in strips()]) is None


def test_defects_in_a_twentieth_of_the_cloth_are_no_pattern():
    images = strips()
    for one in images[:2]:
        one[:, 200:456] = 20
    assert noticed(images) is None


@pytest.mark.parametrize("period_px", [150, 320, 500])
def test_stripes_along_the_warp_are_noticed(period_px):
    dark = 1 - 0.12 * (np.arange(WIDTH) // (period_px / 2) % 2)
    found = noticed([one * dark for one in strips()])
    assert (found.kind, found.what) == ("stripes along the warp", "brightness")
    assert 0.03 < found.ratio < 0.09


def test_stripes_along_the_weft_that_are_longer_than_an_image_are_noticed():
    lines = np.arange(STRIPS * HEIGHT)
    dark = (1 - 0.12 * (lines // 150 % 2)).reshape(STRIPS, HEIGHT, 1)
    found = noticed([one * by for one, by in zip(strips(), dark, strict=True)])
    assert found.kind == "stripes along the weft"


def test_bands_of_another_weave_are_noticed_though_they_are_as_bright():
    other = strips(seed=1, pitch_px=8.0, wave=30.0)
    is_other = np.arange(WIDTH) // 200 % 2 > 0
    found = noticed([np.where(is_other, b, a) for a, b in zip(strips(), other, strict=True)])
    assert (found.kind, found.what) == ("stripes along the warp", "contrast")


def test_a_print_is_a_pattern():
    x = np.arange(WIDTH)
    images = []
    for number, one in enumerate(strips()):
        y = np.arange(HEIGHT)[:, None] + number * HEIGHT
        print_ = np.sin(2 * np.pi * y / 300) * np.sin(2 * np.pi * x / 300) > 0.2
        images.append(one * (1 - 0.3 * print_))
    found = noticed(images)
    assert found.kind == "a pattern"
    assert "weak defects are missed here" in found.text()


def test_what_is_not_cloth_does_not_count():
    is_cloth = np.zeros((HEIGHT, WIDTH), bool)
    is_cloth[:, :700] = True
    images = strips()
    for one in images:
        one[:, 700:] = 30
    assert noticed(images, is_cloth) is None
    assert noticed(images, np.zeros((HEIGHT, WIDTH), bool)) is None


@pytest.mark.parametrize(("count", "most"), [(0, 0), (1, 1), (5, 5), (5000, 64)])
def test_strips_are_chosen_evenly(count, most):
    chosen = strips_to_sample(count)
    assert len(chosen) == most
    assert chosen == sorted(set(chosen))
    assert not count or (chosen[0], chosen[-1]) == (0, count - 1)
