from __future__ import annotations

import numpy as np

from edge.teach.detector_scores import ENOUGH_IMAGES, logit, most_thresholds, score_tail, thresholds_at

OWN = {"drop": 0.65, "broken": 0.4}


def tails(*best):
    """Tails of both classes, from the best scores of some strips."""
    return dict.fromkeys(OWN, score_tail(logit(np.array(best))))


def test_a_few_images_raise_no_threshold_beyond_the_bundles_own():
    most = most_thresholds(OWN, {"drop": 0.02, "broken": 0.3}, 8)
    assert thresholds_at(20.0, tails(0.02, 0.3), OWN, most) == OWN


def test_a_few_images_raise_it_to_where_they_show_no_false_alarm():
    most = most_thresholds(OWN, {"drop": 0.8, "broken": 0.3}, 8)
    thresholds = thresholds_at(20.0, tails(0.8, 0.3), OWN, most)
    assert 0.8 < thresholds["drop"] < 0.81
    assert thresholds["broken"] == 0.4


def test_many_images_set_it_wherever_their_tail_leads():
    seen = dict.fromkeys(OWN, 0.3)
    most = most_thresholds(OWN, seen, ENOUGH_IMAGES)
    assert thresholds_at(20.0, tails(*[0.3] * ENOUGH_IMAGES), OWN, most)["drop"] > 0.65


def test_no_threshold_is_lowered_below_half_of_the_bundles_own():
    most = most_thresholds(OWN, dict.fromkeys(OWN, 0.02), 8)
    assert thresholds_at(-50.0, tails(0.02, 0.03), OWN, most) == {"drop": 0.325, "broken": 0.2}
