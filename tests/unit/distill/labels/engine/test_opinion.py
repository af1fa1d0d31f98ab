from __future__ import annotations

import numpy as np
import pytest

from distill.labels.annotations import Region
from distill.labels.fusion import Fusion
from distill.labels.naming import Namer
from distill.labels.opinion import Panel
from distill.labels.triage import Band, Triage
from edge.taxonomy import load_taxonomy

IMAGE = np.zeros((100, 200), np.uint8)


class Fixed:
    """An annotator that says the same of every picture."""

    def __init__(self, name, *regions):
        self.name = name
        self._regions = regions

    def annotate(self, images):
        return [self._regions for _ in images]


def panel(*annotators, **calibrators):
    triage = Triage({}, Band(accept=0.6, reject=0.2))
    return Panel(annotators, Namer(load_taxonomy()), Fusion("weighted"), triage, calibrators)


def test_words_are_named_scores_calibrated_and_the_rest_sorted():
    nep = Region("nep", (10, 10, 30, 30), score=0.4)
    cat = Region("cat", (60, 10, 90, 30), score=0.9)
    (result,) = panel(Fixed("a", nep, cat), a=lambda score: 2 * score).label([IMAGE])
    (accepted,) = result.accepted
    assert (accepted.label, accepted.category, accepted.annotator) == ("drop", "nep", "a")
    assert accepted.score == pytest.approx(0.8)
    assert not result.queued
    assert not result.rejected


def test_what_only_one_of_two_saw_waits_for_a_person():
    seen = Region("hole", (10, 10, 30, 30), score=0.9)
    results = panel(Fixed("a", seen), Fixed("b")).label([IMAGE, IMAGE])
    assert [len(result.queued) for result in results] == [1, 1]
