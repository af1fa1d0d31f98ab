from __future__ import annotations

import numpy as np
import pytest

from distill.evaluation.hits import points_at
from distill.operating_point.table import in_words
from distill.operating_point.verdict import remarks, sign_test, verdict_on
from distill.settings.tables import OperatingPoint
from tests.unit.distill.operating_point.test_choose import BEFORE, image, strips_with

NOTHING = image(truth=["drop"])


def judged(folds, before, **settings):
    return verdict_on(folds, before, BEFORE, OperatingPoint(**settings))


def test_more_defects_at_no_more_false_positives_are_better():
    fold = strips_with("drop", 0.9, 20)
    verdict = judged([fold, fold], [NOTHING] * 40)
    assert verdict.is_better
    assert (verdict.before.true_positives, verdict.after.true_positives) == (0, 40)
    assert verdict.chance < 1e-6
    words = (
        "0 -> 40 of 40 defects found, 0 -> 0 false positives on the same 40 images: better than where it"
    )
    assert in_words(verdict).startswith(words)


def test_each_part_is_judged_by_thresholds_of_the_others():
    """A false positive that only one part shows passes there: its threshold was chosen without it."""
    loud = [*strips_with("drop", 0.9, 20), image(("drop", 0.6, []))]
    quiet = strips_with("drop", 0.5, 20)
    verdict = judged([loud, quiet], None)
    assert verdict.after.false_positives == 1
    assert verdict.thresholds["drop"] > 0.6


def test_more_false_positives_are_not_better():
    loud = [*strips_with("drop", 0.9, 20), image(("drop", 0.95, []))]
    verdict = judged([loud, strips_with("drop", 0.9, 20)], [NOTHING] * 20 + [image()] + [NOTHING] * 20)
    assert not verdict.is_better
    assert "best.pt is the detector from before" in in_words(verdict)


def test_as_many_false_positives_as_before_are_in_the_budget():
    fold = [*strips_with("drop", 0.5, 30), image(("drop", 0.6, []))]
    before = [*[NOTHING] * 30, image(("drop", 0.9, []))] * 2
    assert judged([fold, fold], before).after.true_positives == 60


def test_one_part_says_that_it_was_judged_by_its_own_thresholds():
    verdict = judged([strips_with("drop", 0.9, 20)], [NOTHING] * 20)
    assert not verdict.is_cross_validated
    assert "chosen on these very images" in in_words(verdict)


def test_what_is_too_little_is_said():
    many = judged([strips_with("broken", 0.9, 6), strips_with("broken", 0.9, 6)], None)
    said = " / ".join(remarks(judged([[image(("drop", 0.9, [0]), truth=["drop"])]], [NOTHING]), None))
    assert "1 defect is too few to tell" in said
    assert "drop: 1 box; a threshold of its own needs 10" in said
    assert "no image without a defect" in said
    assert "the scale is not known" in said
    assert "broken: " not in " / ".join(remarks(many, 0.2))


@pytest.mark.parametrize(
    ("gained", "lost", "chance"), [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (5, 5, 1.0), (10, 0, 2 / 1024)]
)
def test_sign_test(gained, lost, chance):
    ours = [True] * gained + [False] * lost + [True, False]
    theirs = [False] * gained + [True] * lost + [True, False]
    assert sign_test(ours, theirs) == pytest.approx(chance)


def test_a_report_points_at_a_defect_by_overlap_or_by_its_centre():
    truth = np.array([[0, 0, 100, 100]], np.float32)
    found = np.array(
        [[40, 40, 44, 44], [90, 90, 130, 130], [60, 0, 160, 100], [200, 0, 210, 10]], np.float32
    )
    assert points_at(found, truth)[:, 0].tolist() == [True, False, True, False]
    assert points_at(found[:0], truth).shape == (0, 1)
