from __future__ import annotations

import numpy as np
import pytest

from edge.reference.model import Look
from edge.reference.regions import Regions, no_regions
from edge.reference.watch import NEAR_STRIPS, OTHER_STRIPS, ReferenceWatch, UsualCloth

USUAL = UsualCloth("twill", {"spot": 2.0, "patch": 4.0}, fit_distance=0.3, near=0.8)
SOMETHING = Regions(np.array([[0, 0, 9, 9]], np.float32), np.array([1.5], np.float32), ("spot",))


def look(fit=0.2, spot=1.0, regions=None):
    return Look(regions or no_regions(), {"spot": spot, "patch": 1.0}, 1000, fit)


@pytest.fixture
def watch():
    watch = ReferenceWatch()
    watch.start_again(USUAL)
    return watch


def events_of(watch, looks):
    kinds = []
    for one in looks:
        watch.look(one)
        kinds += [event.kind for event in watch.take_events()]
    return kinds


def test_clean_cloth_of_the_article_is_no_event(watch):
    assert events_of(watch, [look(fit=0.3, spot=1.5)] * 500) == []


def test_other_cloth_is_told_once_and_its_end_too(watch):
    assert events_of(watch, [look(fit=0.9)] * 3 * OTHER_STRIPS) == ["other article"]
    assert watch.troubles == ("other article",)
    assert events_of(watch, [look(fit=0.2)] * 10 * OTHER_STRIPS) == ["other article is over"]
    assert watch.troubles == ()


def test_a_single_strip_unlike_the_article_is_no_event(watch):
    assert events_of(watch, [look()] * 50 + [look(fit=5.0)] + [look()] * 50) == []


def test_long_defects_in_half_of_the_strips_are_no_other_cloth(watch):
    assert events_of(watch, ([look()] * 25 + [look(fit=40.0)] * 25) * 20) == []


def test_many_strips_near_to_a_threshold_are_drift_before_any_is_an_alarm(watch):
    quarter = [look(spot=1.7 if number % 3 == 0 else 1.0) for number in range(5 * NEAR_STRIPS)]
    assert events_of(watch, quarter) == ["thresholds drift"]
    assert events_of(watch, [look()] * 5 * NEAR_STRIPS) == ["thresholds drift is over"]


def test_a_defect_that_runs_for_metres_is_no_drift(watch):
    assert events_of(watch, [look(spot=3.0, regions=SOMETHING)] * 5 * NEAR_STRIPS) == []


def test_other_cloth_starts_again(watch):
    events_of(watch, [look(fit=0.9)] * OTHER_STRIPS)
    watch.start_again(None)
    assert (watch.troubles, events_of(watch, [look(fit=9.0)] * 100)) == ((), [])
