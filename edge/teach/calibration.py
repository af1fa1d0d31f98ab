"""Set levels for a budget of false alarms, from clean cloth that was not fitted.

All channels share one budget. Each value is brought to a scale that all of them share: its surprise, the
logarithm of how much rarer it is than the start of its channel's tail. The tail is exponential, and its
scale is estimated from k values, so that a new excess of t scales has the probability (1 + t / k) ** -k:
the surprise is k ln(1 + t / k) (peaks over threshold: Pickands, Annals of Statistics 3, 1975; Lomax).
A report counts once, with its greatest surprise, and one level on that scale holds for all channels.

The level is set for a part of the rate asked for (`CAUTION`). Where the cloth stands for at least one
false alarm at that rate, it is an order statistic of the reports, of rank ceil((n + 1)(1 - alpha)) from
below (Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2005): a value that was seen, never
one between two. Where it stands for less, the level is at least the greatest value seen, and as far beyond
the tail's start as the rate is rarer.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TAIL: Final = 20
"""Values that a tail is estimated from. 10 and 40 were tried: 10 scatters more, 40 is off where the tail is
not exponential (docs/false-alarms.md, section The statistics)."""

TAIL_RATIO: Final = 3
"""Of few values, at most every third belongs to the tail."""

CAUTION: Final = 0.85
"""A level is set for so much of the rate asked for. Tails may be heavier than exponential, and the metres
that come differ more from those taught than those do from each other: levels set for all of 10 false alarms
per 100 m gave 1.75 times as many on ten simulated rolls (docs/benchmarks/promises.md). Of extrapolated
levels, for 1 and 3 per 100 m, 0.75 gave 0.2 and 0.4 times as many, 0.85 gave 0.4 and 0.6 times."""

FLAT: Final = 1e-6
"""Least scale of a tail, relative to its start: values that are all alike have none."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Hold the tail of a channel's scores on clean cloth.

    Attributes:
        start: where it starts.
        scale: mean excess beyond.
        count: values that the scale was estimated from.
    """

    start: float
    scale: float
    count: float

    def surprise(self, values: Floats) -> Floats:
        """Return how surprising values are; increasing in the value, 0 where the tail starts."""
        excess = (np.asarray(values, np.float64) - self.start) / self.scale
        beyond = self.count * np.log1p(np.maximum(excess, 0) / self.count)
        return np.asarray(np.where(excess > 0, beyond, excess), np.float64)

    def value_at(self, surprise: float) -> float:
        """Return the value that is so surprising."""
        excess = self.count * float(np.expm1(surprise / self.count)) if surprise > 0 else surprise
        return self.start + self.scale * excess


def tail_of(maxima: Floats) -> Tail:
    """Estimate the tail of one channel.

    Args:
        maxima: (n,) greatest value of each stretch, n >= 1; NaN where a stretch has none.
    Raises:
        ValueError: if there is no finite value.
    """
    seen = np.sort(maxima[np.isfinite(maxima)])[::-1]
    if not len(seen):
        raise ValueError("a channel without a finite value has no tail")
    count = _tail_count(len(seen))
    start = float(seen[count])
    scale = float(seen[:count].mean()) - start if count else 0.0
    return Tail(start, max(scale, FLAT * max(abs(start), 1.0)), max(count, 1))


def level_of(reports: Floats, stretches: int, allowed: float) -> float:
    """Return the level above which a new stretch gives a report at most at the rate asked for.

    Args:
        reports: (m,) surprise of the reports of clean cloth, at least of those of the tail.
        stretches: n, how many stretches they come from.
        allowed: false alarms that the budget allows on all of them together, above 0.
    Raises:
        ValueError: if there is no report.
    """
    ordered = np.sort(reports)[::-1]
    if not len(ordered):
        raise ValueError("no report to calibrate on")
    allowed *= CAUTION
    rank = floor(allowed * (stretches + 1) / stretches + 1e-9)
    if rank >= 1:
        return float(ordered[min(rank, len(ordered)) - 1])
    count = _tail_count(len(ordered))
    beyond = float(np.log(max(count, 1) / allowed))
    return max(float(ordered[0]), float(ordered[count]) + beyond)


def _tail_count(values: int) -> int:
    """Return how many of the greatest values make the tail; the next one is its start."""
    return min(TAIL, max(1, values // TAIL_RATIO), values - 1)
