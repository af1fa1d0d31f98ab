from __future__ import annotations

import numpy as np
import pytest
import torch

from distill.checkpoint import load_detector
from distill.data.tiles import TilePlan
from distill.evaluation.evaluate import (
    DEFAULT_THRESHOLD,
    IOU_THRESHOLDS,
    THRESHOLD_CAP,
    THRESHOLD_FLOOR,
    best_threshold,
    match,
    metrics_of,
    validate,
)
from edge.core.detections import Detections, no_detections
from edge.core.errors import TrainingError
from tests.unit.distill.tiny import tiny_dataset, write_untrained

NAMES = ("wrinkle", "drop", "broken")


def found(*rows) -> Detections:
    """rows: (class_id, score, box)."""
    return Detections(
        np.array([box for _, _, box in rows], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in rows], np.float32),
        np.array([class_id for class_id, _, _ in rows], np.int64),
    )


BOX, OTHER = (0, 0, 10, 10), (40, 40, 60, 60)


@pytest.mark.parametrize(
    ("ours", "ground_truth", "right"),
    [
        pytest.param(no_detections(), found((0, 1, BOX)), [], id="nothing-found"),
        pytest.param(found((0, 0.9, BOX)), no_detections(), [False], id="nothing-there"),
        pytest.param(found((0, 0.9, BOX)), found((0, 1, BOX)), [True], id="exact"),
        pytest.param(found((1, 0.9, BOX)), found((0, 1, BOX)), [False], id="other-class"),
        pytest.param(found((0, 0.9, OTHER)), found((0, 1, BOX)), [False], id="elsewhere"),
        pytest.param(found((0, 0.2, BOX), (0, 0.9, BOX)), found((0, 1, BOX)), [False, True], id="double"),
        pytest.param(found((0, 0.9, (0, 0, 0, 0))), found((0, 1, BOX)), [False], id="no-area"),
    ],
)
def test_match(ours, ground_truth, right):
    assert match(ours, ground_truth, IOU_THRESHOLDS)[:, 0].tolist() == right


def test_a_shifted_box_is_right_only_at_low_overlap():
    right = match(found((0, 0.9, (0, 0, 10, 7.1))), found((0, 1, BOX)), IOU_THRESHOLDS)
    assert right[0].tolist() == [True] * 5 + [False] * 5


def test_perfect_detections_score_one():
    tiles = [(found((c, 0.8, BOX)), found((c, 1, BOX))) for c in (0, 1, 2)]
    metrics = metrics_of(tiles, NAMES)
    assert metrics.map50 == pytest.approx(1, abs=0.01)
    assert metrics.map50_95 == pytest.approx(1, abs=0.01)
    assert set(metrics.ap50) == set(NAMES)


def test_without_ground_truth_thresholds_keep_their_default():
    metrics = metrics_of([(found((0, 0.9, BOX)), no_detections())], NAMES)
    assert metrics.map50 == 0
    assert metrics.thresholds == dict.fromkeys(NAMES, DEFAULT_THRESHOLD)


def test_nothing_found_scores_zero():
    metrics = metrics_of([(no_detections(), found((0, 1, BOX)))], NAMES)
    assert (metrics.map50, metrics.ap50) == (0, {"wrinkle": 0})


def test_the_threshold_lies_between_right_and_wrong():
    scores = np.array([0.9, 0.8, 0.7, 0.2, 0.1], np.float32)
    right = np.array([True, True, True, False, False])
    assert 0.2 < best_threshold(scores, right, total=3) <= 0.7


@pytest.mark.parametrize(
    ("score", "threshold"), [(0.01, THRESHOLD_FLOOR), (0.99, THRESHOLD_CAP)], ids=["floor", "cap"]
)
def test_thresholds_are_bounded(score, threshold):
    assert best_threshold(np.array([score], np.float32), np.array([True]), 1) == threshold


def test_a_detector_that_has_diverged_is_not_scored(tmp_path):
    file = write_untrained(tmp_path / "best.pt")
    detector = load_detector(file)
    with torch.no_grad():
        for weight in detector.module.parameters():
            weight *= 1e20
    data = tiny_dataset(tmp_path / "data")
    plan = TilePlan(data.val, detector.contract, data.mm_per_px, cache_mb=16)
    with pytest.raises(TrainingError, match="diverged"):
        validate(detector.module, plan, detector.contract, torch.device("cpu"))
