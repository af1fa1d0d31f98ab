"""Test how boxes and their labels are drawn."""

import numpy as np
import pytest

from edge.core.labelled_boxes import (
    LabelledBox,
    draw_boxes,
    draw_detections,
    fitting_text_px,
    label_text,
    readable,
)
from edge.core.palette import BLUE, INK, VERMILION, WHITE, class_colour

CLOTH = 120


def cloth(height, width):
    return np.full((height, width), CLOTH, np.uint8)


def ratio_of(image, colour):
    return float((image == np.array(colour.bgr, np.uint8)).all(axis=2).mean())


def found(label, *box, score=0.9):
    return {"label": label, "score": score, "box_xyxy_px": list(map(float, box))}


@pytest.mark.parametrize("name", ["broken", "drop", "wrinkle", "unclassified", "moire"])
def test_a_class_has_the_same_colour_whatever_else_is_found(name):
    others = [found("a", 10, 200, 30, 230), found("zz", 400, 200, 420, 230)]
    alone = draw_detections(cloth(300, 500), [found(name, 200, 100, 260, 150)])
    among = draw_detections(cloth(300, 500), [*others, found(name, 200, 100, 260, 150)])
    for image in (alone, among):
        assert tuple(image[125, 197:204].tolist()[0]) == class_colour(name).bgr
        assert ratio_of(image[60:160, 180:330], class_colour(name)) > 0.02


def test_the_image_itself_stays_as_it_is():
    image = cloth(300, 500)
    draw_detections(image, [found("drop", 200, 100, 260, 150)])
    assert (image == CLOTH).all()


@pytest.mark.parametrize("size_hw", [(2048, 4096), (256, 4096), (720, 1280), (4096, 4096)])
def test_text_is_ten_pixels_high_where_the_image_is_shown_as_wide_as_a_page(size_hw):
    assert fitting_text_px(size_hw) * 1100 / size_hw[1] >= 10


def test_text_on_a_small_image_is_read_and_leaves_most_of_it_to_the_cloth():
    assert fitting_text_px((256, 256)) == 12
    assert fitting_text_px((256, 4096)) <= 256 / 5


@pytest.mark.parametrize(
    ("colour", "ink", "other"),
    [(class_colour("drop"), INK, WHITE), (BLUE, WHITE, INK)],
    ids=["light", "dark"],
)
def test_text_is_dark_on_a_light_ground_and_light_on_a_dark_one(colour, ink, other):
    drawn = draw_boxes(cloth(120, 400), [LabelledBox((10, 60, 390, 110), "mmmmmm", colour)], text_px=40)
    label = drawn[12:52, 20:150]
    assert ratio_of(label, ink) > 0.05
    assert ratio_of(label, other) < 0.01


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (("drop", 0.871, None), "drop 0.87"),
        (("drop", 0.871, "nep"), "drop: nep 0.87"),
        (("wrinkle", 0.5, "wrinkle"), "wrinkle 0.50"),
        (("broken", None, "hole"), "broken: hole"),
        (("a" * 150 + "b" * 50, 0.5, None), f"{'a' * 25}...{'b' * 12} 0.50"),
    ],
)
def test_a_label_says_class_kind_and_confidence(said, text):
    assert label_text(*said) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("düğüm", "dugum"),
        ("破洞", "PoDong"),
        ("Öl", "Ol"),
        ("пятно", "pyatno"),
        ("a\nb", "a b"),
    ],
)
def test_a_name_in_any_script_is_read_in_latin_letters(name, text):
    assert readable(name) == text


def test_a_long_name_is_smaller_and_then_cut_but_its_confidence_stays():
    box = (5, 100, 250, 150)
    names = ["wrinkle across the whole cloth", "n" * 300]
    drawn = [draw_boxes(cloth(256, 256), [LabelledBox(box, f"{name} 0.87", VERMILION)]) for name in names]
    assert all(ratio_of(image[:100], VERMILION) > 0.05 for image in drawn)
    ends = [
        draw_boxes(cloth(256, 256), [LabelledBox(box, f"{names[1]} 0.{end}", VERMILION)])
        for end in (11, 87)
    ]
    assert (ends[0] != ends[1]).any()


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 4096), (8, 8), (4096, 1)])
def test_an_image_without_room_for_a_label_gets_none(size_hw):
    drawn = draw_detections(cloth(*size_hw), [found("drop", 0, 0, 1, 1)])
    assert drawn.shape == (*size_hw, 3)


@pytest.mark.parametrize("more", [{"shape": "weft line"}, {"kind": "nep"}], ids=str)
def test_a_detection_with_a_shape_or_a_kind_says_it(more):
    plain = found("unclassified", 10, 60, 390, 110)
    named = {**plain, **more}
    assert (draw_detections(cloth(120, 400), [named]) != draw_detections(cloth(120, 400), [plain])).any()


def test_no_box_is_drawn_over_the_defect_inside_it():
    drawn = draw_detections(cloth(300, 500), [found("drop", 200, 100, 207, 107)])
    assert (drawn[100:107, 200:207] == CLOTH).all()
