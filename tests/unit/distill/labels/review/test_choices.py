from __future__ import annotations

import math
from dataclasses import replace

import pytest
from pydantic import ValidationError

from distill.labels.review.choices import Choice, judged
from edge.core.errors import ConfigError, DatasetError
from edge.core.taxonomy import load_taxonomy
from tests.unit.distill.labels.review.folders import CLASSES, HARD, MASKED, UNSURE, label_set

IMAGE = next(image for image in label_set().images if image.file_name == HARD)
TAXONOMY = load_taxonomy()


def result(action, place=1, **values):
    choice = Choice(image_name=HARD, version=0, action=action, place=place, **values)
    return judged(choice, IMAGE, CLASSES, TAXONOMY)


def test_accepted_is_believed():
    found = result("accept")
    assert (found.review, found.weight) == ("accepted", 1.0)
    assert (found.score, found.annotator, found.box_xyxy_px) == (0.6, "florence", UNSURE.box_xyxy_px)


def test_rejected_keeps_all_that_was_said_of_it():
    found = result("reject")
    assert (found.review, found.weight, found.score) == ("rejected", 0.6, 0.6)


def test_a_redrawn_region_loses_its_outline_and_keeps_where_it_comes_from():
    found = result("redraw", 2, box_xyxy_px=(50.0, 70.0, 10.0, -5.0))
    assert found.box_xyxy_px == (10.0, 0.0, 50.0, 60.0)
    assert (found.polygon_xy_px, found.review) == (None, "corrected")
    assert (found.score, found.annotator, found.category) == (0.5, "detector+florence", "broken end")


def test_another_class_takes_the_finer_names_away():
    found = result("relabel", 2, label="wrinkle")
    assert (found.label, found.category, found.phrase, found.review) == ("wrinkle", None, None, "corrected")
    assert found.polygon_xy_px == MASKED.polygon_xy_px


def test_the_class_that_it_has_is_a_yes():
    found = result("relabel", 2, label="broken")
    assert (found.review, found.category) == ("accepted", "broken end")


def test_a_kind_brings_its_class_and_phrase():
    kind = next(kind for kind in TAXONOMY.kinds if kind.parent == "wrinkle")
    found = result("relabel", category=kind.category)
    assert (found.label, found.category, found.phrase) == ("wrinkle", kind.category, kind.phrase)
    assert found.review == "corrected"


def test_a_corrected_region_stays_corrected_when_it_is_accepted():
    corrected = result("relabel", 2, label="drop")
    image = replace(IMAGE, regions=(corrected,))
    again = judged(Choice(image_name=HARD, version=0, action="accept"), image, CLASSES, TAXONOMY)
    assert again.review == "corrected"


def unclassified(action, **values):
    image = replace(IMAGE, regions=(replace(UNSURE, label="unclassified"),))
    return judged(Choice(image_name=HARD, version=0, action=action, **values), image, CLASSES, TAXONOMY)


def test_a_region_without_a_class_is_accepted_by_giving_it_one():
    with pytest.raises(DatasetError, match=r"It is unclassified\. Give it a class"):
        unclassified("accept")
    named = unclassified("relabel", label="drop")
    assert (named.label, named.review, named.weight) == ("drop", "corrected", 1.0)
    assert unclassified("reject").review == "rejected"


def test_a_region_without_a_class_waits_on_when_it_is_redrawn():
    drawn = unclassified("redraw", box_xyxy_px=(5.0, 5.0, 25.0, 20.0))
    assert (drawn.review, drawn.box_xyxy_px) == ("queued", (5.0, 5.0, 25.0, 20.0))


def test_a_new_region_is_a_persons():
    found = result("add", label="broken", box_xyxy_px=(1.0, 2.0, 3.0, 4.0))
    assert (found.label, found.score, found.annotator, found.review) == (
        "broken",
        None,
        "person",
        "accepted",
    )


@pytest.mark.parametrize(
    ("values", "error", "said"),
    [
        pytest.param({"action": "accept", "place": 3}, DatasetError, "no region 4", id="no-region"),
        pytest.param({"action": "relabel", "label": "slub"}, DatasetError, "no class 'slub'", id="class"),
        pytest.param({"action": "relabel"}, DatasetError, "no class ''", id="no-class"),
        pytest.param({"action": "relabel", "category": "x"}, ConfigError, "category 'x'", id="category"),
        pytest.param({"action": "redraw"}, DatasetError, "no box", id="no-box"),
        pytest.param(
            {"action": "redraw", "box_xyxy_px": (5.0, 5.0, 5.5, 20.0)}, DatasetError, "smaller", id="thin"
        ),
        pytest.param(
            {"action": "add", "box_xyxy_px": (200.0, 5.0, 300.0, 20.0)},
            DatasetError,
            "smaller",
            id="outside",
        ),
        pytest.param(
            {"action": "add", "box_xyxy_px": (math.nan, 5.0, 30.0, 20.0)}, DatasetError, "no box", id="nan"
        ),
    ],
)
def test_what_makes_no_sense_is_refused(values, error, said):
    with pytest.raises(error, match=said):
        result(**values)


def test_a_kind_whose_class_the_data_set_lacks_is_refused():
    kind = next(kind for kind in TAXONOMY.kinds if kind.parent == "wrinkle")
    choice = Choice(image_name=HARD, version=0, action="relabel", place=0, category=kind.category)
    with pytest.raises(DatasetError, match="no class 'wrinkle'"):
        judged(choice, IMAGE, ("drop",), TAXONOMY)


def test_an_unknown_action_is_no_choice():
    with pytest.raises(ValidationError):
        Choice(image_name=HARD, version=0, action="delete")


@pytest.mark.parametrize("name", ["", "Ana\nRuiz", "a" * 81])
def test_a_name_is_one_line(name):
    with pytest.raises(ValidationError):
        Choice(image_name=HARD, version=0, action="accept", by=name)
