"""Lamp, lens and lint, on woven cloth that moves."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge.cloth.optics import (
    LEARNT_FRAMES,
    LINT_FRAMES,
    REST_FRAMES,
    STEADY_FRAMES,
    ZONES,
    OpticsWatch,
    brightest_grey,
    measure_optics,
)
from edge.simulator.loom import Loom
from edge.simulator.options import LoomOptions

images = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 20), st.integers(64, 300)), elements=st.integers(0, 255)
)


@pytest.fixture(scope="module")
def cloth():
    """Images of moving cloth, one after the other."""
    loom = Loom(LoomOptions(seed=3, width_px=512, defects_per_m=0))
    return [loom.render(number * 64, 64) for number in range(120)]


def after(watch, cloth, frames, spoil=lambda image: image):
    """Show so many images; return what was told."""
    for number in range(frames):
        image = spoil(cloth[number % len(cloth)])
        if not watch.is_dark(image):
            watch.look(image)
    return [event.kind for event in watch.take_events()]


@pytest.fixture
def watch(cloth):
    """A watch that knows how it looks at the start."""
    watch = OpticsWatch()
    assert after(watch, cloth, LEARNT_FRAMES + 5) == []
    return watch


def dimmed(fraction):
    return lambda image: cv2.convertScaleAbs(image, alpha=fraction)


def with_lint(image):
    spoilt = image.copy()
    spoilt[:, 200:216] = cv2.convertScaleAbs(spoilt[:, 200:216], alpha=0.7)
    return spoilt


def dim_at_the_left(image):
    spoilt = image.copy()
    spoilt[:, :64] = cv2.convertScaleAbs(spoilt[:, :64], alpha=0.5)
    return spoilt


def test_sound_optics_tell_nothing(watch, cloth):
    assert after(watch, cloth, 600) == []


def test_a_weak_lamp_is_told_once_and_again_when_it_is_over(watch, cloth):
    assert after(watch, cloth, 4 * STEADY_FRAMES, dimmed(0.6)) == ["lamp weak"]
    assert after(watch, cloth, 200, dimmed(0.6)) == []
    assert after(watch, cloth, 4 * STEADY_FRAMES) == ["lamp weak is over"]


def test_hysteresis_and_rate(watch, cloth):
    assert after(watch, cloth, 60, dimmed(0.6)) == ["lamp weak"]
    assert after(watch, cloth, 60, dimmed(0.8)) == [], "between the limits nothing changes"
    assert after(watch, cloth, 80) == ["lamp weak is over"]
    assert after(watch, cloth, 60, dimmed(0.6)) == [], "not again so soon"
    assert after(watch, cloth, 80) == []
    assert REST_FRAMES > 1000


def test_a_lamp_that_is_out_at_one_side(watch, cloth):
    assert after(watch, cloth, 80, dim_at_the_left) == ["lamp uneven"]


def test_a_lens_out_of_focus(watch, cloth):
    told = after(watch, cloth, 120, lambda image: cv2.GaussianBlur(image, (0, 0), 2.5))
    assert set(told) == {"focus"}
    assert 1 <= len(told) <= ZONES


def test_lint_stands_still_for_long_before_it_is_told(watch, cloth):
    assert after(watch, cloth, LINT_FRAMES // 2, with_lint) == []
    assert after(watch, cloth, LINT_FRAMES, with_lint) == ["lint"]
    assert after(watch, cloth, LINT_FRAMES + 60) == ["lint is over"]


def test_the_lamp_is_out_at_once_and_on_again(watch, cloth):
    assert watch.is_dark(dimmed(0.05)(cloth[0]))
    assert [event.kind for event in watch.take_events()] == ["lamp out"]
    assert not watch.is_dark(cloth[0])
    assert [event.kind for event in watch.take_events()] == ["lamp out is over"]


def test_a_machine_without_cloth_is_not_dark(watch, cloth):
    bed = np.random.default_rng(0).integers(20, 60, cloth[0].shape).astype(np.uint8)
    assert not watch.is_dark(bed)


def test_a_run_that_begins_in_the_dark_has_nothing_to_compare_with():
    watch, black = OpticsWatch(), np.zeros((16, 256), np.uint8)
    for _ in range(LEARNT_FRAMES + 50):
        assert not watch.is_dark(black)
        watch.look(black)
    assert watch.take_events() == []


def test_another_width_starts_again(watch, cloth):
    wide = [np.hstack([image, image]) for image in cloth[:60]]
    assert after(watch, wide, 60, dimmed(0.5)) == []


@pytest.mark.parametrize("shape", [(1, 64), (7, 65), (3, 200, 3)], ids=["one row", "odd", "colour"])
def test_shapes(shape):
    optics = measure_optics(np.full(shape, 100, np.uint8))
    assert optics.brightness.shape == optics.sharpness.shape == (ZONES,)
    assert optics.brightness == pytest.approx(100)
    assert optics.sharpness == pytest.approx(0)
    assert optics.columns == pytest.approx(1)


@given(images)
def test_brightness_lies_within_the_image_and_turning_it_round_turns_the_zones(image):
    optics, turned = measure_optics(image), measure_optics(np.flip(image, axis=1))
    assert image.min() - 1e-9 <= optics.brightness.min() <= optics.brightness.max() <= image.max() + 1e-9
    assert image.min() <= brightest_grey(image) <= image.max()
    if image.shape[1] % ZONES == 0:
        np.testing.assert_allclose(optics.brightness, turned.brightness[::-1], atol=1e-9)


@given(st.integers(2, 60), st.sampled_from([0.5, 0.25]))
def test_sharpness_does_not_depend_on_the_light(seed, fraction):
    image = (np.random.default_rng(seed).integers(20, 63, (16, 128)) * 4).astype(np.uint8)
    dark = (image * fraction).astype(np.uint8)
    np.testing.assert_allclose(measure_optics(image).sharpness, measure_optics(dark).sharpness, rtol=0.02)
