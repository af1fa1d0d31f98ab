from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.labels.review.order import found_by, hardest_first, hardness, regions_in_order
from distill.labels.sets.annotations import REVIEW_STATES, AnnotatedImage, Region
from tests.unit.distill.labels.review.folders import CLEAN, DONE, EASY, HARD, label_set


def region(score=None, annotator=None, review="queued"):
    return Region("drop", (0, 0, 9, 9), score=score, annotator=annotator, review=review)


def image_name(name, *regions):
    return AnnotatedImage(name, (50, 50), regions)


def test_the_hardest_queued_first_then_what_nobody_looked_at_then_the_rest():
    images = label_set().images
    assert hardest_first(images, "queued") == [HARD, EASY]
    assert hardest_first(images, "all") == [HARD, EASY, DONE, CLEAN]


@pytest.mark.parametrize(
    ("harder", "easier"),
    [
        pytest.param(region(0.5, "a"), region(0.51, "a"), id="nearer-to-a-toss-up"),
        pytest.param(region(0.45, "a"), region(0.6, "a"), id="below-counts-like-above"),
        pytest.param(region(0.6, "a"), region(0.6, "a+b"), id="fewer-agree"),
        pytest.param(region(0.99, "a+b"), region(None), id="a-score-before-none"),
        pytest.param(region(0.6, None), region(0.6, "a"), id="nobody-agrees"),
    ],
)
def test_which_is_harder(harder, easier):
    assert hardness(harder) < hardness(easier)
    assert hardest_first([image_name("a", easier), image_name("b", harder)], "queued") == ["b", "a"]


def test_one_hard_region_makes_an_image_hard_however_many_are_easy():
    many = image_name("a", *[region(0.9, "x")] * 9)
    assert hardest_first([many, image_name("b", region(0.9, "x"), region(0.5, "x"))], "all") == ["b", "a"]


def test_a_queued_region_comes_before_a_harder_unreviewed_one():
    looked = image_name("a", region(0.5, "x", "unreviewed"))
    assert hardest_first([looked, image_name("b", region(0.9, "x"))], "all") == ["b", "a"]


def test_who_found_it():
    assert found_by(region(annotator="detector+florence")) == ["detector", "florence"]
    assert found_by(region()) == []


scored = st.builds(
    region,
    st.none() | st.floats(0, 1),
    st.none() | st.sampled_from(["a", "a+b"]),
    st.sampled_from(REVIEW_STATES),
)


@given(st.lists(st.lists(scored, max_size=4), max_size=8))
def test_every_image_stands_in_the_order_once_and_the_file_order_does_not_matter(drawn):
    images = [image_name(f"{number}.png", *regions) for number, regions in enumerate(drawn)]
    assert sorted(hardest_first(images, "all")) == sorted(image.file_name for image in images)
    assert hardest_first(images, "all") == hardest_first(images[::-1], "all")
    waiting = hardest_first(images, "queued")
    assert hardest_first(images, "all")[: len(waiting)] == waiting
    assert len(waiting) == sum(any(r.review == "queued" for r in regions) for regions in drawn)


@given(st.lists(scored, max_size=6))
def test_deciding_does_not_move_regions_about(drawn):
    image = image_name("a.png", *drawn)
    decided = replace(image, regions=tuple(replace(one, review="accepted") for one in drawn))
    assert regions_in_order(image) == regions_in_order(decided)
    assert sorted(regions_in_order(image)) == list(range(len(drawn)))
