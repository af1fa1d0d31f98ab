"""Test the colours of the classes, of the roles and of the pages."""

import math
from itertools import combinations

import numpy as np
import pytest

from edge.core.detections import UNCLASSIFIED, with_unclassified
from edge.core.palette import (
    COLOUR_OF_CLASS,
    DARK_THEME,
    FURTHER_COLOURS,
    INK,
    LIGHT_THEME,
    SERIES,
    WHITE,
    Colour,
    class_colour,
    contrast,
    stylesheet,
    text_colour,
)
from edge.core.taxonomy import load_taxonomy

SEEN_BY = {
    "everybody": np.eye(3),
    "no red cones": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green cones": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "no blue cones": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
"""Linear RGB as it is seen with a colour blindness (Machado and others, 2009, severity 1)."""

XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
LEAST_DIFFERENCE = 15.0
"""In CIE 1976 L*a*b*; the nearest two of Okabe's and Ito's lie 16 apart for eyes without blue cones."""


def lab(colour: Colour, seen: np.ndarray) -> tuple[float, float, float]:
    parts = np.array(colour) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    xyz = XYZ @ np.clip(seen @ linear, 0, 1) / np.array([0.9505, 1.0, 1.089])
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("eyes", SEEN_BY)
def test_every_two_colours_of_classes_differ_for_all_eyes(eyes):
    colours = [*COLOUR_OF_CLASS.values(), *FURTHER_COLOURS]
    seen = [lab(colour, SEEN_BY[eyes]) for colour in colours]
    assert min(math.dist(one, other) for one, other in combinations(seen, 2)) > LEAST_DIFFERENCE


def test_each_shipped_class_has_a_colour_of_its_own():
    assert set(COLOUR_OF_CLASS) == {*load_taxonomy().classes, UNCLASSIFIED}


def test_the_colour_of_a_class_that_a_mill_adds_depends_on_its_name_alone():
    assert class_colour("moire").hex == class_colour("moire").hex
    assert class_colour("moire") not in {
        class_colour(name) for name in with_unclassified(load_taxonomy().classes)
    }


def test_a_name_that_is_no_text_has_a_colour():
    assert class_colour("moir\udce9") in FURTHER_COLOURS


def test_a_colour_is_written_as_its_reader_wants_it():
    assert class_colour("broken").hex == "#d55e00"
    assert class_colour("broken").bgr == (0, 94, 213)


@pytest.mark.parametrize("colour", [*COLOUR_OF_CLASS.values(), *FURTHER_COLOURS], ids=lambda one: one.hex)
def test_text_on_every_colour_of_a_class_is_read(colour):
    assert contrast(text_colour(colour), colour) >= 4.5


def test_contrast_is_that_of_wcag():
    assert contrast(Colour(0, 0, 0), WHITE) == pytest.approx(21)
    assert contrast(Colour(118, 118, 118), WHITE) == pytest.approx(4.54, abs=0.01)


def test_the_series_of_a_plot_stand_out_from_white():
    assert [colour.hex for colour in SERIES if contrast(colour, WHITE) < 2] == []
    assert INK in SERIES


@pytest.mark.parametrize("theme", [LIGHT_THEME, {**LIGHT_THEME, **DARK_THEME}], ids=["light", "dark"])
def test_the_text_of_pages_is_read_on_every_ground_it_stands_on(theme):
    grounds = {"text": ("back", "card", "warn-back", "bad-back", "note-back", "cloth")}
    grounds |= {"soft": ("back", "card", "note-back", "warn-back", "bad-back")}
    grounds |= {"good": ("card", "note-back"), "bad": ("card", "bad-back"), "on-dark": ("dark",)}
    grounds |= {"on-good": ("good",)}
    weak = {
        f"{text} on {ground}": round(contrast(theme[text], theme[ground]), 2)
        for text, below in grounds.items()
        for ground in below
        if contrast(theme[text], theme[ground]) < 4.5
    }
    assert weak == {}


def test_the_stylesheet_gives_each_colour_by_day_and_by_night():
    assert f"--bad: {LIGHT_THEME['bad'].hex};" in stylesheet()
    assert f"--bad: {DARK_THEME['bad'].hex};" in stylesheet().split("@media")[1]
    assert "@media" not in stylesheet(dark=False)
