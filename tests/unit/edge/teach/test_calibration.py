from __future__ import annotations

import numpy as np
import pytest

from edge.teach.calibration import CAUTION, Tail, level_of, tail_of


@pytest.mark.parametrize(
    ("allowed", "rank"), [(1.2, 1), (2.3, 1), (3.0, 2), (3.6, 3), (10.0, 8), (1e9, 100)], ids=str
)
def test_a_level_that_the_cloth_carries_is_the_value_of_that_rank(allowed, rank):
    values = np.arange(100.0)
    assert level_of(values, 100, allowed) == 100.0 - rank


@pytest.mark.parametrize("alpha", [0.02, 0.1, 0.25, 0.5])
def test_the_rank_is_the_conformal_one(alpha):
    n = 200
    values = np.random.default_rng(3).normal(size=n)
    k = int(np.ceil((n + 1) * (1 - alpha) - 1e-9))
    assert level_of(values, n, alpha * n / CAUTION) == np.sort(values)[k - 1]


def test_a_level_beyond_the_cloth_is_above_all_that_was_seen():
    values = tail_of(maxima := np.random.default_rng(5).exponential(size=600)).surprise(maxima)
    levels = [level_of(values, 600, allowed) for allowed in (0.25, 0.5, 0.9, 1.2, 3.0)]
    assert levels == sorted(levels, reverse=True)
    assert levels[3] == values.max()
    assert levels[0] > values.max()


def test_values_that_are_all_alike_give_a_level_there():
    assert level_of(np.full(50, 2.0), 50, 1.2) == 2.0
    assert tail_of(np.full(50, 2.0)).value_at(5.0) == pytest.approx(2.0, abs=1e-3)


@pytest.mark.parametrize("values", [[], [np.nan, np.nan]], ids=["empty", "none finite"])
def test_without_a_value_there_is_no_tail(values):
    with pytest.raises(ValueError, match="no tail"):
        tail_of(np.array(values))


def test_a_single_value_is_its_own_tail():
    assert tail_of(np.array([3.0])).start == 3.0


def test_a_tail_starts_at_the_21st_value_and_is_as_long_as_the_mean_excess_of_20():
    values = np.arange(200.0)
    tail = tail_of(values)
    assert (tail.start, tail.scale) == (179.0, 10.5)


@pytest.mark.parametrize("value", [-3.0, 0.0, 0.5, 7.0])
def test_a_value_comes_back_from_its_surprise(value):
    tail = Tail(0.25, 2.0, 20)
    assert tail.value_at(float(tail.surprise(np.array(value)))) == pytest.approx(value)
