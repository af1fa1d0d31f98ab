"""Tiles of rare classes come more often, every epoch is as long as the first, each showing is another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.data.rare_classes import repeat_factors, repeated
from distill.data.tiles import showings


def test_factors_are_the_root_of_what_is_lacking():
    tiles = [frozenset({0})] * 15 + [frozenset({0, 1})]
    assert repeat_factors(tiles, 0.25).tolist() == [1.0] * 15 + [2.0]
    assert repeat_factors(tiles, 0.0).tolist() == [1.0] * 16


@given(st.lists(st.floats(1, 4), min_size=1, max_size=20), st.integers(0, 99))
def test_each_tile_comes_as_often_as_its_factor_says(factors, seed):
    tiles = np.arange(len(factors)) + 7
    shown = repeated(tiles, np.array(factors), np.random.default_rng(seed))
    times = np.bincount(shown, minlength=tiles[-1] + 1)[7:]
    assert (np.floor(factors) <= times).all()
    assert (times <= np.floor(factors) + 1).all()
    assert len(shown) == pytest.approx(sum(factors), abs=0.5)


def test_showings_are_counted():
    assert showings([4, 2, 4, 4, 2]) == [(4, 0), (2, 0), (4, 1), (4, 2), (2, 1)]
