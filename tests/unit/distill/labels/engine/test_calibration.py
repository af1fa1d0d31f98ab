from __future__ import annotations

import numpy as np
import pytest

from distill.labels.engine.calibration import (
    IsotonicCalibration,
    TemperatureCalibration,
    calibrated,
    fit_calibration,
)
from distill.labels.engine.reliability import (
    expected_calibration_error,
    judge,
    reliability,
)
from distill.labels.sets.annotations import Region
from edge.core.errors import DatasetError


def timid_scores(count=2000, seed=0):
    """Scores that say a third of what is true, as products of token probabilities do."""
    rng = np.random.default_rng(seed)
    truth = rng.random(count)
    return truth / 3, rng.random(count) < truth


@pytest.mark.parametrize("method", ["isotonic", "temperature"])
def test_error_falls_on_held_out_boxes(method):
    calibration = fit_calibration(*timid_scores(), method=method)
    scores, right = timid_scores(seed=1)
    before = expected_calibration_error(scores, right)
    after = expected_calibration_error(calibrated(calibration, scores), right)
    assert before > 0.3
    assert after < 0.06


@pytest.mark.parametrize("method", ["isotonic", "temperature"])
def test_the_order_of_scores_is_kept_and_the_range_is(method):
    rng = np.random.default_rng(2)
    calibration = fit_calibration(rng.random(300), rng.random(300) < 0.5, method=method)
    values = calibrated(calibration, np.linspace(0, 1, 101))
    assert (np.diff(values) >= 0).all()
    assert ((values >= 0) & (values <= 1)).all()


def test_isotonic_pools_what_falls():
    calibration = fit_calibration(
        [0.1] * 5 + [0.2] * 5 + [0.9] * 5, [1] * 5 + [0] * 5 + [1] * 5, "isotonic"
    )
    assert calibration == IsotonicCalibration(scores=(0.15, 0.9), shares=(0.5, 1.0))
    assert calibration(0.15) == pytest.approx(0.5)
    assert calibration(0.0) == pytest.approx(0.5)
    assert calibration(1.0) == 1.0


def test_few_boxes_get_a_temperature():
    assert isinstance(fit_calibration(*timid_scores(60)), TemperatureCalibration)
    assert isinstance(fit_calibration(*timid_scores(400)), IsotonicCalibration)


def test_a_temperature_never_turns_the_order_around():
    scores = np.linspace(0.05, 0.95, 60)
    calibration = fit_calibration(scores, scores < 0.5, "temperature")
    assert (np.diff(calibrated(calibration, scores)) >= 0).all()


def test_a_known_temperature_is_found_again():
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 3, 20_000)
    right = rng.random(20_000) < 1 / (1 + np.exp(-(logits / 2 + 0.7)))
    calibration = fit_calibration(1 / (1 + np.exp(-logits)), right, "temperature")
    assert (calibration.temperature, calibration.offset) == pytest.approx((2.0, 0.7), abs=0.1)


def test_cleanly_parted_boxes_give_finite_numbers():
    calibration = fit_calibration(
        np.r_[np.full(50, 1e-12), np.full(50, 1.0)], [0] * 50 + [1] * 50, "temperature"
    )
    assert calibration(0.0) < 0.05
    assert calibration(1.0) > 0.95


@pytest.mark.parametrize(
    ("scores", "right"), [([], []), ([0.5] * 50, [True] * 50), ([0.5] * 4, [True, False] * 2)],
    ids=["none", "all-right", "too-few"],
)  # fmt: skip
def test_too_little_to_learn_from(scores, right):
    with pytest.raises(DatasetError, match="too few"):
        fit_calibration(np.array(scores), np.array(right))


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="scores"):
        fit_calibration([0.5, 1.5], [True, False])
    with pytest.raises(ValueError, match="scores"):
        fit_calibration([0.5], [True, False])


def test_each_ground_truth_is_found_once():
    truth = [Region("drop", (0, 0, 10, 10)), Region("broken", (50, 0, 60, 100))]
    found = [
        Region("drop", (0, 0, 10, 9), score=0.5),
        Region("drop", (0, 0, 10, 10), score=0.9),
        Region("broken", (0, 0, 10, 10), score=0.8),
        Region("broken", (50, 0, 60, 90), score=0.3),
    ]
    scores, right = judge(found, truth)
    assert scores.tolist() == [0.9, 0.8, 0.5, 0.3]
    assert right.tolist() == [True, False, False, True]
    assert judge([], truth)[1].size == 0
    assert judge(found, [])[1].tolist() == [False] * 4


def test_a_box_beside_a_thin_defect_is_right_and_one_that_covers_little_of_a_large_one_is_not():
    """Once all boxes of a detector on broken ends counted as wrong, for want of half an overlap."""
    truth = [Region("broken", (100, 0, 103, 400)), Region("wrinkle", (200, 0, 300, 400))]
    found = [
        Region("broken", (98, 0, 112, 390), score=0.9),
        Region("wrinkle", (240, 190, 260, 210), score=0.8),
        Region("broken", (110, 0, 120, 400), score=0.7),
    ]
    assert judge(found, truth)[1].tolist() == [True, False, False]
    assert judge(found, truth, is_strict=True)[1].tolist() == [False, False, False]


def test_the_error_of_no_boxes_is_none():
    assert expected_calibration_error([], []) == 0.0
    assert reliability([1.0], [True])[0].count == 1
