from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.labels.engine.fusion import Fusion
from distill.labels.sets.annotations import Region

SIZE_HW_PX = (100, 200)


def region(x1=10.0, y1=10.0, side=20.0, *, label="drop", score=0.8, **more):
    return Region(label, (x1, y1, x1 + side, y1 + side), score=score, **more)


@pytest.mark.parametrize("method", ["weighted", "best"])
def test_what_two_saw_is_one_region_with_both_names(method):
    opinions = {"detector": [region(score=0.6)], "florence": [region(x1=11.0, score=0.9, category="nep")]}
    (fused,) = Fusion(method).fuse(opinions, SIZE_HW_PX)
    assert fused.annotator == "detector+florence"
    assert fused.category == "nep"
    assert 10.0 <= fused.box_xyxy_px[0] <= 11.0


def test_who_saw_nothing_counts_against_it():
    alone = Fusion().fuse({"a": [region(score=0.9)]}, SIZE_HW_PX)
    doubted = Fusion().fuse({"a": [region(score=0.9)], "b": [], "c": []}, SIZE_HW_PX)
    assert alone[0].score == pytest.approx(0.9)
    assert doubted[0].score == pytest.approx(0.3)
    assert doubted[0].annotator == "a"


def test_the_best_method_keeps_the_best_box_and_its_score():
    opinions = {"a": [region(score=0.6)], "b": [region(x1=12.0, score=0.7)], "c": []}
    (fused,) = Fusion("best").fuse(opinions, SIZE_HW_PX)
    assert fused.score == pytest.approx(0.7)
    assert fused.box_xyxy_px[0] == pytest.approx(12.0)


def test_classes_and_places_apart_stay_apart():
    opinions = {"a": [region(), region(x1=100.0), region(label="broken")]}
    assert len(Fusion().fuse(opinions, SIZE_HW_PX)) == 3


def test_duplicates_of_one_annotator_are_one():
    (fused,) = Fusion().fuse({"a": [region(), region(x1=10.5, score=0.7)]}, SIZE_HW_PX)
    assert fused.annotator == "a"
    assert fused.score <= 0.8


def test_nothing_seen_is_nothing():
    assert Fusion().fuse({"a": [], "b": []}, SIZE_HW_PX) == ()


def test_a_region_without_a_score_is_a_mistake():
    with pytest.raises(ValueError, match="score"):
        Fusion().fuse({"a": [Region("drop", (0, 0, 5, 5))]}, SIZE_HW_PX)


places = st.lists(
    st.tuples(st.floats(0, 150), st.floats(0, 60), st.floats(4, 30), st.floats(0.01, 1.0)), max_size=6
)


@given(places, places)
def test_the_order_of_annotators_does_not_matter(first, second):
    a, b = ([region(x, y, side, score=score) for x, y, side, score in one] for one in (first, second))
    forward, backward = (
        Fusion().fuse(opinions, SIZE_HW_PX) for opinions in ({"a": a, "b": b}, {"b": b, "a": a})
    )
    assert forward == backward
    assert all(0.0 <= (one.score or 0.0) <= 1.0 for one in forward)
    assert all(0 <= one.box_xyxy_px[0] <= one.box_xyxy_px[2] <= 200 + 1e-3 for one in forward)


@pytest.mark.parametrize("method", ["weighted", "best"])
def test_a_box_that_lies_beside_the_image_is_nothing(method):
    below = region(y1=100.0)  # the image has 100 lines
    fused = Fusion(method).fuse({"a": [below, region()], "b": [region()]}, (100, 200))
    assert len(fused) == 1
    assert fused[0].box_xyxy_px == pytest.approx(region().box_xyxy_px, abs=1e-3)
    assert Fusion(method).fuse({"a": [below]}, (100, 200)) == ()
