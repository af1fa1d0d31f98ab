from __future__ import annotations

import pytest

from distill.labels.engine.fusion import Fusion
from distill.labels.engine.opinion import Opinion
from distill.labels.engine.triage import Band, Triage
from distill.labels.sets.annotations import Region
from distill.labels.sets.naming import Namer
from edge.core.taxonomy import load_taxonomy

SIZE = (100, 200)
HOLE = Region("hole", (10, 10, 30, 30), score=0.9)


def opinion(**calibrators):
    triage = Triage({}, Band(accept=0.6, reject=0.2))
    return Opinion(Namer(load_taxonomy()), Fusion("weighted"), triage, calibrators)


def test_words_are_named_scores_calibrated_and_the_rest_is_unknown():
    nep = Region("nep", (10, 10, 30, 30), score=0.4)
    cat = Region("cat", (60, 10, 90, 30), score=0.9)
    ours = opinion(a=lambda score: 2 * score)
    result = ours.of({"a": [nep, cat]}, SIZE)
    (accepted,) = result.accepted
    assert (accepted.label, accepted.category, accepted.annotator) == ("drop", "nep", "a")
    assert accepted.score == pytest.approx(0.8)
    assert not result.queued
    assert ours.unknown({"a": [nep, cat]}) == {"cat": 1}


def test_what_only_one_of_two_saw_waits_for_a_person():
    result = opinion().of({"a": [HOLE], "b": []}, SIZE)
    assert not result.accepted
    assert [region.review for region in result.queued] == ["queued"]


def test_one_annotator_cannot_agree_with_itself():
    result = opinion().of({"a": [HOLE, HOLE, HOLE], "b": []}, SIZE)
    assert [region.score for region in result.queued] == [pytest.approx(0.45)]


def test_of_two_classes_for_one_thing_the_surer_stays_and_a_person_decides_about_the_other():
    other = Region("nep", (11, 10, 30, 30), score=0.8)
    result = opinion().of({"a": [HOLE, other]}, SIZE)
    assert [region.category for region in result.accepted] == ["hole"]
    assert [(region.category, region.review) for region in result.queued] == [("nep", "queued")]


def test_final_scores_are_calibrated_again():
    from dataclasses import replace

    result = replace(opinion(), final=lambda score: score / 2).of({"a": [HOLE]}, SIZE)
    assert [region.score for region in result.queued] == [pytest.approx(0.45)]
