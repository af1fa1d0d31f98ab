"""Count durations by stage: every one counted, none trimmed, in constant memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import exp, log
from typing import TypedDict

import numpy as np

_LOWEST_MS = 1e-3
_GROWTH = 1.005
_BINS = 4200
"""1 microsecond to 21 minutes in steps of half a per cent: a quantile is that exact, for months."""


class LatencyQuantiles(TypedDict):
    """Quantiles of durations in milliseconds."""

    p50: float
    p95: float
    p99: float
    max: float


class LatencyHistogram:
    """Count durations in logarithmic bins. Quantiles are exact to 0.5 %, the maximum is exact."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)
        self._max_ms = 0.0
        self.total_ms = 0.0

    def add(self, duration_ms: float) -> None:
        """Count one duration, in milliseconds, >= 0."""
        place = int(log(max(duration_ms, _LOWEST_MS) / _LOWEST_MS) / log(_GROWTH))
        self._counts[min(place, _BINS - 1)] += 1
        self._max_ms = max(self._max_ms, duration_ms)
        self.total_ms += duration_ms

    def copy(self) -> LatencyHistogram:
        """Return the same counts as they stand now."""
        other = LatencyHistogram()
        other._counts, other._max_ms, other.total_ms = self._counts.copy(), self._max_ms, self.total_ms
        return other

    def count_up_to(self, duration_ms: float) -> int:
        """Count the durations that are no longer than this, to the width of a bin."""
        place = int(log(max(duration_ms, _LOWEST_MS) / _LOWEST_MS) / log(_GROWTH))
        return int(self._counts[: place + 1].sum())

    def __len__(self) -> int:
        return int(self._counts.sum())

    def quantile_ms(self, fraction: float) -> float:
        """Return the duration that `fraction` (0..1) of all durations do not exceed; 0 if there are
        none."""
        total = len(self)
        if not total:
            return 0.0
        rank = max(1, int(np.ceil(fraction * total)))
        place = int(np.searchsorted(np.cumsum(self._counts), rank))
        middle_ms = _LOWEST_MS * exp((place + 0.5) * log(_GROWTH))
        return min(middle_ms, self._max_ms)

    def quantiles(self) -> LatencyQuantiles:
        """Return the quantiles that a report shows."""
        return LatencyQuantiles(
            p50=round(self.quantile_ms(0.50), 3),
            p95=round(self.quantile_ms(0.95), 3),
            p99=round(self.quantile_ms(0.99), 3),
            max=round(self._max_ms, 3),
        )


class StageClock:
    """Time the named stages of a loop."""

    def __init__(self) -> None:
        self.stages: dict[str, LatencyHistogram] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count how long the block takes, also when it fails."""
        start_ns = time.perf_counter_ns()
        try:
            yield
        finally:
            self.add(name, (time.perf_counter_ns() - start_ns) / 1e6)

    def add(self, name: str, duration_ms: float) -> None:
        """Count a duration that was measured elsewhere."""
        self.stages.setdefault(name, LatencyHistogram()).add(duration_ms)

    def quantiles(self) -> dict[str, LatencyQuantiles]:
        """Return the quantiles of each stage, in the order in which the stages first ran."""
        return {name: histogram.quantiles() for name, histogram in self.stages.items()}
