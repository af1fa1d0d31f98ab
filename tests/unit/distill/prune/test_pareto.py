"""Diagrams of a pruning: every label stands inside, beside its point, and none over another."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from distill.prune.candidates import ScoredPlan
from distill.prune.pareto import LABEL_GAP, draw_candidates, limits, spread
from distill.prune.plan import PlanOptions

QUALITY = st.floats(0, 1)


@given(st.lists(QUALITY, min_size=1, max_size=12))
def test_values_and_labels_have_room_between_the_limits(values):
    low, high = limits(values)
    gap = LABEL_GAP * (high - low)
    at = spread(values, gap)
    assert low < min(values)
    assert max(at) <= high
    assert all(label >= value for label, value in zip(at, values, strict=True))
    steps = sorted(at)
    assert all(upper - lower > 0.999 * gap for lower, upper in itertools.pairwise(steps))


@pytest.mark.parametrize("quality", [0.0, 0.4])
def test_candidates_that_are_worth_the_same_stand_inside_their_diagram(quality):
    plans = [
        ScoredPlan(
            planner="depgraph", options=PlanOptions(), macs_share=0.69 + number / 1000,
            map50=quality, map50_95=quality,
        )
        for number in range(12)
    ]  # fmt: skip
    figure = draw_candidates(plans, 3)
    FigureCanvasAgg(figure).draw()
    axes = figure.axes[0]
    inside = axes.get_window_extent()
    for label in axes.texts:
        assert inside.y0 <= label.get_window_extent().y0 <= label.get_window_extent().y1 <= inside.y1
    assert axes.yaxis.label.get_window_extent().x0 >= 0
    assert axes.yaxis.label.get_window_extent().height <= figure.bbox.height
