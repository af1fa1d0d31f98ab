from __future__ import annotations

import random

import pytest

from distill.labels.engine.calibrating import ReviewedImage, calibrate, opinion_of
from distill.labels.engine.judging import Change, quality_of
from distill.labels.engine.settings import AnnotatorSpec, EngineSettings
from distill.labels.sets.annotations import Region
from distill.labels.sets.naming import Namer
from edge.core.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()
NAMER = Namer(TAXONOMY)
SIZE = (100, 100)
BOX = (10.0, 10.0, 40.0, 40.0)
ELSEWHERE = (60.0, 60.0, 90.0, 90.0)


def settings(*names, **more):
    specs = tuple(AnnotatorSpec(kind="python", model="m:f", name=name) for name in names)
    return EngineSettings(annotators=specs, **more)


def place(is_right, chance):
    """Where the hole is, or anywhere to the right of it: two that err seldom err alike."""
    x, y = chance.uniform(45, 80), chance.uniform(0, 80)
    return BOX if is_right else (x, y, x + 15, y + 15)


def images(count=400, **habits):
    """Each with a hole; `true` of an annotator's boxes are on it, its scores say nothing."""
    chance = random.Random(3)
    made = []
    for number in range(count):
        answers = {
            name: (Region("drop", place(chance.random() < true, chance), score=chance.uniform(0.5, 1)),)
            for name, true in habits.items()
        }
        made.append(ReviewedImage(answers, (Region("drop", BOX),), SIZE, f"g{number}"))
    return made


def test_scores_become_the_share_that_is_right():
    learnt = calibrate(images(sure=0.9, unsure=0.3), settings("sure", "unsure"), NAMER, TAXONOMY.classes)
    assert learnt.annotators["sure"](0.8) == pytest.approx(0.9, abs=0.1)
    assert learnt.annotators["unsure"](0.8) == pytest.approx(0.3, abs=0.1)
    assert learnt.weights["sure"] > learnt.weights["unsure"]
    assert learnt.errors["unsure"].after < learnt.errors["unsure"].before


def test_one_that_is_never_right_counts_for_nothing():
    both = settings("sure", "never")
    learnt = calibrate(images(sure=0.9, never=0.0), both, NAMER, TAXONOMY.classes)
    assert learnt.weights["never"] == 0
    assert learnt.annotators["never"](0.99) < 0.02
    assert any("never" in note for note in learnt.notes)


def test_what_is_accepted_reaches_the_asked_precision():
    both = settings("sure", "unsure", accept_precision=0.85)
    learnt = calibrate(images(sure=0.8, unsure=0.4), both, NAMER, TAXONOMY.classes)
    unseen = images(sure=0.8, unsure=0.4)[:200]
    quality = quality_of(opinion_of(both, NAMER, learnt), unseen)
    assert quality.precision >= 0.8
    assert quality.recall > 0.25


def test_a_class_that_is_not_shown_keeps_the_bands_of_the_settings():
    learnt = calibrate(images(sure=0.9), settings("sure"), NAMER, TAXONOMY.classes)
    assert set(learnt.bands) == {"drop"}
    assert any(note.startswith("wrinkle") for note in learnt.notes)


def test_nothing_to_learn_from_is_said():
    learnt = calibrate(images(4, sure=0.5), settings("sure"), NAMER, TAXONOMY.classes)
    assert not learnt.annotators
    assert learnt.fused is None
    assert any("too few" in note for note in learnt.notes)


def test_bands_of_the_settings_win():
    fixed = settings("sure", bands={"drop": {"accept": 0.99, "reject": 0.5}})
    learnt = calibrate(images(sure=0.9), fixed, NAMER, TAXONOMY.classes)
    assert opinion_of(fixed, NAMER, learnt).triage.bands["drop"].accept == 0.99


def test_a_calibration_survives_a_file():
    learnt = calibrate(images(sure=0.9, unsure=0.3), settings("sure", "unsure"), NAMER, TAXONOMY.classes)
    assert type(learnt).model_validate_json(learnt.model_dump_json()) == learnt


def test_changes_are_counted_by_overlap():
    one, moved, other = Region("drop", BOX), Region("drop", (12, 10, 42, 40)), Region("drop", ELSEWHERE)
    change = Change().plus([one], [moved, other]).plus([other], [])
    assert (change.kept, change.added, change.removed) == (1, 1, 1)
