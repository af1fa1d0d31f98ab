"""Places without a class beside named boxes: they confirm, wait for a person, and never name anything."""

from __future__ import annotations

import pytest

from distill.labels.engine.calibrating import Calibrated, ReviewedImage, calibrate, opinion_of
from distill.labels.engine.judging import quality_of
from distill.labels.engine.settings import EngineSettings
from distill.labels.sets.annotations import Region
from distill.labels.sets.naming import Namer
from edge.core.taxonomy import load_taxonomy

SIZE = (400, 400)
TAXONOMY = load_taxonomy()
SPECS = ({"kind": "detector", "model": "a"}, {"kind": "reference", "model": "self"})


def place(x1, y1, x2, y2, score=0.7):
    return Region("unclassified", (x1, y1, x2, y2), score=score, annotator="reference")


def drop(x1, y1, x2, y2, score):
    return Region("drop", (x1, y1, x2, y2), score=score, annotator="detector")


def settings(**more):
    return EngineSettings(annotators=SPECS, **more)


def result(detector, reference, learnt=None, **more):
    opinion = opinion_of(settings(**more), Namer(TAXONOMY), learnt or Calibrated())
    return opinion.of({"detector": detector, "reference": reference}, SIZE)


def said(regions):
    return [(region.label, region.review, region.annotator) for region in regions]


def test_a_place_that_only_the_reference_sees_waits_as_unclassified_however_sure_it_is():
    for more in ({}, {"bands": {"unclassified": {"accept": 0.1, "reject": 0.1}}}):
        found = result([], [place(10, 10, 50, 50, 0.99)], **more)
        assert found.accepted == ()
        assert said(found.queued) == [("unclassified", "queued", "reference")]


def test_a_place_that_a_detector_names_is_one_region_with_both_names():
    named = drop(18, 18, 40, 40, 0.9)
    found = result([named], [place(10, 10, 50, 50)])
    (region,) = (*found.accepted, *found.queued)
    assert (region.label, region.annotator) == ("drop", "detector+reference")
    assert region.box_xyxy_px == pytest.approx(named.box_xyxy_px, abs=1e-3)


def test_a_sure_place_does_not_make_a_weak_name_sure():
    alone = result([drop(18, 18, 40, 40, 0.5)], [])
    both = result([drop(18, 18, 40, 40, 0.5)], [place(10, 10, 50, 50, 0.99)])
    assert both.accepted == ()
    scores = [one.score for one in (*alone.queued, *alone.rejected)], [one.score for one in both.queued]
    assert scores == ([pytest.approx(0.25)], [pytest.approx(0.5)])  # agreed with, and not raised


def test_a_sure_place_under_a_name_that_nobody_believes_still_waits():
    found = result([drop(18, 18, 40, 40, 0.05)], [place(10, 10, 50, 50)])
    assert said(found.queued) == [("unclassified", "queued", "reference")]
    assert [region.label for region in found.rejected] == ["drop"]


def test_a_small_named_box_does_not_hide_a_large_place():
    found = result([drop(100, 100, 110, 110, 1.0)], [place(50, 50, 250, 250)])
    assert ("unclassified", "queued", "reference") in said(found.queued)


def test_a_weak_place_is_let_go():
    assert said(result([], [place(10, 10, 50, 50, 0.2)]).rejected) == [
        ("unclassified", "unreviewed", "reference")
    ]


def images(count, is_right):
    """Return reviewed images where the reference saw the true drop, or something else."""
    truth = (Region("drop", (100.0, 100.0, 120.0, 120.0)),)
    where = place(92, 92, 128, 128) if is_right else place(300, 300, 340, 340)
    return [
        ReviewedImage({"detector": [], "reference": [where]}, truth, SIZE, str(number))
        for number in range(count)
    ]


def test_the_reference_is_calibrated_by_whether_a_defect_is_there_of_whatever_class():
    learnt = calibrate(images(40, is_right=True), settings(), Namer(TAXONOMY), TAXONOMY.classes)
    assert learnt.weights["reference"] == 1.0
    (waits,) = result([], [place(10, 10, 50, 50)], learnt).queued
    assert waits.score > 0.9
    never = calibrate(images(40, is_right=False), settings(), Namer(TAXONOMY), TAXONOMY.classes)
    assert never.weights["reference"] == 0.0
    assert result([], [place(10, 10, 50, 50)], never).queued == ()


def test_a_queued_place_over_a_true_defect_counts_as_right_and_waiting():
    opinion = opinion_of(settings(), Namer(TAXONOMY), Calibrated())
    quality = quality_of(opinion, images(3, is_right=True))
    assert (quality.true_boxes, quality.boxes, quality.queued_right) == (3, 0, 3)
