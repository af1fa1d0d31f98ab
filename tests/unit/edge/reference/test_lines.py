"""Test the mean features of lines against sums over each line's own cells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.reference.lines import RUNG_CELLS, LineMeans
from edge.reference.maps import CHANNELS, LEAST_COVERED


def slow_means(vectors, is_judged, axis, rungs):
    """Sum up rung by rung: NaN where too little of the line is judged."""
    if axis == 1:
        return slow_means(vectors.transpose(0, 2, 1), is_judged.T, 0, rungs).transpose(0, 2, 1)
    height, width = is_judged.shape
    count = -(-height // RUNG_CELLS)
    means = np.full((len(vectors), count, width), np.nan)
    in_view = np.count_nonzero(is_judged.any(axis=1))
    for rung in range(count):
        first = max(0, rung - rungs // 2) * RUNG_CELLS
        last = (rung - rungs // 2 + rungs) * RUNG_CELLS
        own = is_judged[rung * RUNG_CELLS : (rung + 1) * RUNG_CELLS].any(axis=0)
        judged = is_judged[first:last]
        covered = judged.sum(axis=0)
        total = (vectors[:, first:last] * judged).sum(axis=1)
        enough = own & (covered >= LEAST_COVERED * min(rungs * RUNG_CELLS, in_view))
        means[:, rung, enough] = total[:, enough] / covered[enough]
    return means


@pytest.mark.parametrize("name", ["end", "pick"])
@given(
    seed=st.integers(0, 10_000),
    height=st.integers(5, 60),
    width=st.integers(5, 60),
    holes=st.integers(0, 5),
)
def test_a_line_is_the_mean_of_its_judged_cells_whatever_the_shape_of_the_cloth(
    name, seed, height, width, holes
):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(3, height, width)).astype(np.float32)
    is_judged = np.ones((height, width), bool)
    is_judged[:, : rng.integers(0, width // 2)] = False  # the bed beside the cloth
    for _ in range(holes):
        top, left = rng.integers(0, height), rng.integers(0, width)
        is_judged[top : top + rng.integers(1, 12), left : left + rng.integers(1, 12)] = False
    channel = CHANNELS[name]
    means = LineMeans.of(vectors, is_judged, channel)
    axis = means.axis
    assert axis == (0 if name == "end" else 1)
    in_view = np.count_nonzero(is_judged.any(axis=1 - axis))
    rungs = max(1, round(min(channel.size_hw[axis], in_view) / RUNG_CELLS))
    expected = slow_means(vectors.astype(np.float64), is_judged, axis, rungs)
    has_value = ~np.isnan(expected[0])
    np.testing.assert_array_equal(means.has_value, has_value)
    np.testing.assert_allclose(means.vectors[:, has_value], expected[:, has_value], atol=1e-5)
