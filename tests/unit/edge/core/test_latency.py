from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.core.latency import LatencyHistogram, StageClock


@given(st.lists(st.floats(0.002, 1e5), min_size=1, max_size=300), st.sampled_from([0.5, 0.95, 0.99]))
def test_quantiles_are_exact_to_half_a_per_cent(durations_ms, fraction):
    histogram = LatencyHistogram()
    for duration in durations_ms:
        histogram.add(duration)
    exact = np.sort(durations_ms)[int(np.ceil(fraction * len(durations_ms))) - 1]
    assert abs(histogram.quantile_ms(fraction) / exact - 1) < 0.006
    assert histogram.quantiles()["max"] == round(max(durations_ms), 3)
    assert len(histogram) == len(durations_ms)


def test_nothing_and_the_extremes():
    histogram = LatencyHistogram()
    assert histogram.quantiles() == {"p50": 0, "p95": 0, "p99": 0, "max": 0}
    histogram.add(0.0)
    histogram.add(1e9)
    assert histogram.quantiles()["max"] == 1e9


def test_a_stage_counts_also_when_it_fails():
    clock = StageClock()
    try:
        with clock.stage("infer"):
            raise ValueError
    except ValueError:
        pass
    assert len(clock.stages["infer"]) == 1
