from __future__ import annotations

import numpy as np
import pytest

from distill.labels.florence.outputs import read_answer, whole_box
from distill.labels.florence.tasks import TASKS, examples_of, prompt_for
from distill.labels.formats.flip import flipped_labels
from distill.labels.formats.location_tokens import place_text
from distill.labels.sets.annotations import AnnotatedImage, Region
from distill.labels.sets.naming import full_name, names_from_text
from edge.core.errors import ConfigError, DatasetError
from tests.unit.distill.labels.florence.small import TAXONOMY

SIZE_HW = (200, 1000)
END = Region("broken", (100.5, 0.1, 109.5, 199.9), category="broken end",
             polygon_xy_px=((100.5, 0.1), (109.5, 0.1), (109.5, 199.9), (100.5, 199.9)))  # fmt: skip
STAIN = Region("drop", (400.5, 50.5, 440.5, 90.5), category="stain",
               polygon_xy_px=((400.5, 50.5), (440.5, 60.5), (420.5, 90.5)))  # fmt: skip
DROP = Region("drop", (700.5, 20.5, 720.5, 40.5))
IMAGE = AnnotatedImage("0 (1).jpg", SIZE_HW, (STAIN, END, DROP))
CLEAN = AnnotatedImage("clean.png", SIZE_HW)


def near(box):
    return pytest.approx(box, abs=0.5)


def only(task, image=IMAGE):
    example, *rest = examples_of(task, image, TAXONOMY)
    assert not rest
    return example


def regions_of(task, text, asked=""):
    return read_answer(task, f"<s>{text}</s><pad>", SIZE_HW, TAXONOMY, asked).regions


def test_detection_names_classes_in_reading_order():
    example = only("detection")
    assert example.prompt == "<OD>"
    assert example.answer.startswith("broken<loc_100><loc_0><loc_109><loc_999>drop<loc_700>")
    found = regions_of("detection", example.answer)
    assert [(r.label, r.category) for r in found] == [("broken", None), ("drop", None), ("drop", None)]
    assert [r.box_xyxy_px for r in found] == [near(r.box_xyxy_px) for r in (END, DROP, STAIN)]


def test_a_clean_image_is_an_example_with_an_empty_answer():
    assert [only(task, CLEAN).answer for task in ("detection", "dense_region_caption")] == ["", ""]
    assert only("caption", CLEAN).answer == "Woven cloth without a defect."
    assert examples_of("segmentation", CLEAN, TAXONOMY) == []


def test_without_a_vocabulary_all_three_levels_are_named():
    found = regions_of("dense_region_caption", only("dense_region_caption").answer)
    assert (found[0].label, found[0].category) == ("broken", "broken end")
    assert found[0].phrase == "a warp yarn is missing along the cloth"
    assert (found[1].label, found[1].category, found[1].phrase) == ("drop", None, None)


def test_grounding_asks_for_absent_classes_too():
    example = only("grounding")
    assert example.prompt == "<CAPTION_TO_PHRASE_GROUNDING>wrinkle. drop. broken."
    assert [r.label for r in regions_of("grounding", example.answer)] == ["drop", "drop", "broken"]
    assert "wrinkle" not in example.answer


def test_outlines_are_asked_for_by_name_where_all_are_known():
    examples = examples_of("segmentation", IMAGE, TAXONOMY)
    assert [example.prompt for example in examples] == [
        "<REFERRING_EXPRESSION_SEGMENTATION>broken end", "<REFERRING_EXPRESSION_SEGMENTATION>stain"
    ]  # fmt: skip
    (found,) = regions_of("segmentation", examples[1].answer, asked="stain")
    assert (found.label, found.category) == ("drop", "stain")
    for corner, ground_truth in zip(found.polygon_xy_px, STAIN.polygon_xy_px, strict=True):
        assert corner == near(ground_truth)


def test_two_outlines_of_one_name_come_back_as_two():
    twice = AnnotatedImage("a.png", SIZE_HW, (END, STAIN, STAIN))
    example = examples_of("segmentation", twice, TAXONOMY)[1]
    assert len(regions_of("segmentation", example.answer, asked="stain")) == 2


def test_regions_are_asked_about_by_box_and_by_outline():
    examples = examples_of("region_to_category", IMAGE, TAXONOMY)
    assert [example.answer for example in examples] == [
        "broken end",
        "broken end",
        "drop",
        "stain",
        "stain",
    ]
    assert examples[0].prompt == "<REGION_TO_CATEGORY>" + place_text(END.box_xyxy_px, SIZE_HW)
    assert examples[1].prompt.count("<loc_") == 8
    described = examples_of("region_to_description", IMAGE, TAXONOMY)[0]
    assert described.answer == "a warp yarn is missing along the cloth | broken end | broken"
    outline = examples_of("region_to_segmentation", IMAGE, TAXONOMY)[0]
    assert regions_of("region_to_segmentation", outline.answer)[0].box_xyxy_px == near(END.box_xyxy_px)


def test_captions_say_more_and_more():
    short, detailed, more = (
        only(task).answer for task in ("caption", "detailed_caption", "more_detailed_caption")
    )
    assert short == "Woven cloth with a broken end, a drop and a stain."
    assert detailed.startswith(short)
    assert "A warp yarn is missing along the cloth." in detailed
    assert "At the middle left, a warp yarn is missing along the cloth." in more


@pytest.mark.parametrize("task", TASKS)
def test_every_task_gives_examples_that_its_own_prompt_asks(task):
    for example in examples_of(task, IMAGE, TAXONOMY):
        behind = example.prompt.removeprefix(TASKS[task].token)
        assert prompt_for(task, behind) == example.prompt
        assert example.answer


def test_prompts_are_checked():
    with pytest.raises(ConfigError, match="takes no text"):
        prompt_for("detection", "broken weft")
    with pytest.raises(ConfigError, match="needs text"):
        prompt_for("segmentation")
    with pytest.raises(ConfigError, match="<OD>"):
        prompt_for("segmentation", "a stain <OD>")


def test_a_label_with_an_angle_bracket_survives():
    odd = AnnotatedImage("a.png", SIZE_HW, (Region("gap <3 mm", DROP.box_xyxy_px),))
    assert regions_of("detection", only("detection", odd).answer)[0].label == "gap <3 mm"


def test_a_region_without_a_label_is_refused():
    with pytest.raises(DatasetError, match="no label"):
        examples_of(
            "detection", AnnotatedImage("a.png", SIZE_HW, (Region(" ", DROP.box_xyxy_px),)), TAXONOMY
        )


def test_a_yarn_within_one_bin_keeps_an_area():
    left, top, right, bottom = whole_box((3.2, 50.1, 3.2, 60.1), (1000, 4096))
    assert (right - left, bottom - top) == pytest.approx((4.096, 10.0))
    assert whole_box((9.0, 9.0, 3.0, 3.0), (10, 10)) == (3.0, 3.0, 9.0, 9.0)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("broken", ("broken", None, None)),
        ("stain", ("drop", "stain", "a spot of oil, water or dye")),
        ("moth | insect | drop", ("drop", "insect", "moth")),
        ("insect | drop", ("drop", "insect", None)),
        ("something new", ("something new", None, None)),
        ("", ("", None, None)),
    ],
    ids=["class", "category", "new-kind", "two-levels", "unknown", "empty"],
)
def test_names_are_read(text, names):
    assert names_from_text(text, TAXONOMY) == names


def test_a_class_that_is_also_a_category_stays_a_class():
    assert full_name(Region("wrinkle", (0, 0, 1, 1)), TAXONOMY) == "wrinkle"


def test_flips_move_places_with_the_image():
    (box,) = flipped_labels(AnnotatedImage("a", SIZE_HW, (DROP,)), ("horizontal", "vertical")).regions
    assert box.box_xyxy_px == pytest.approx((279.5, 159.5, 299.5, 179.5))
    again = flipped_labels(flipped_labels(IMAGE, ("horizontal",)), ("horizontal",))
    assert np.array(again.regions[0].polygon_xy_px) == pytest.approx(np.array(STAIN.polygon_xy_px))
