from __future__ import annotations

import pytest

from edge.app.scoring import score_found
from edge.cloth.defects import ClothDefect
from edge.simulator.ground_truth import PlantedDefect


def planted(number, start_m, difficulty="clear", name="broken"):
    return PlantedDefect(number, "broken end", name, difficulty, (start_m, start_m + 0.1), (50.0, 52.0))


def report(start_m, name="broken", left=50.0):
    return ClothDefect(name, 0.9, start_m, start_m + 0.1, left, left + 2)


def test_found_missed_false_and_named_right():
    ground_truth = [planted(0, 0.5), planted(1, 1.5), planted(2, 2.5), planted(3, 3.5, "barely visible")]
    score = score_found(
        ground_truth, [report(0.52), report(1.5, "drop"), report(3.5), report(0.5, left=200)]
    )
    assert (
        score.planted,
        score.true_positives,
        score.false_negatives,
        score.named_right,
        score.false_positives,
    ) == (3, 2, 1, 1, 1)
    assert score.recall == pytest.approx(2 / 3)
    assert score.precision == pytest.approx(2 / 3)
    assert score.by_difficulty["barely visible"] == (1, 1)


def test_a_defect_that_has_not_wholly_passed_is_neither_missed_nor_a_false_alarm():
    score = score_found([planted(0, 0.5), planted(1, 1.95)], [report(0.5), report(1.95)], reached_m=2.0)
    assert (score.planted, score.true_positives, score.false_positives) == (1, 1, 0)


def test_nothing_planted_and_nothing_found():
    score = score_found([], [])
    assert (score.recall, score.precision) == (None, None)


def test_a_defect_many_metres_long_is_found_anywhere_along_it():
    long = PlantedDefect(0, "broken end", "broken", "clear", (1.0, 7.0), (50.0, 52.0))
    assert score_found([long], [report(5.5)]).true_positives == 1
