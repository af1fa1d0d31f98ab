"""Bound a rate by what was counted: exact one-sided limits of Clopper-Pearson and of Garwood."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, lgamma, log, log1p
from typing import Final

STEPS: Final = 100
"""Halvings: more than a double has digits."""


def fraction_at_least(successes: int, tries: int, confidence: float) -> float:
    """Return the lower limit of a fraction (Clopper and Pearson, Biometrika, 1934); 0 for no successes."""
    if successes == 0:
        return 0.0
    alpha = 1 - confidence
    return _root(lambda p: 1 - _binomial_below(successes, tries, p), alpha, 0.0, 1.0)


def fraction_at_most(successes: int, tries: int, confidence: float) -> float:
    """Return the upper limit of a fraction; 1 where all tries succeeded, or there were none."""
    if successes == tries:
        return 1.0
    return 1 - fraction_at_least(tries - successes, tries, confidence)


def count_at_least(count: int, confidence: float) -> float:
    """Return the lower limit of the mean of a Poisson count (Garwood, Biometrika, 1936)."""
    if count == 0:
        return 0.0
    return _root(lambda mean: 1 - _poisson_below(count, mean), 1 - confidence, 0.0, float(count))


def count_at_most(count: int, confidence: float) -> float:
    """Return the upper limit of the mean of a Poisson count."""
    most = 2.0 * count + 20.0 - 4 * log(1 - confidence)
    return _root(lambda mean: 1 - _poisson_below(count + 1, mean), confidence, 0.0, most)


def _binomial_below(count: int, tries: int, p: float) -> float:
    """Return the probability of fewer than `count` successes."""
    if p <= 0.0 or p >= 1.0:
        return 1.0 if p <= 0.0 and count > 0 else 0.0
    whole = lgamma(tries + 1)
    return sum(
        exp(whole - lgamma(k + 1) - lgamma(tries - k + 1) + k * log(p) + (tries - k) * log1p(-p))
        for k in range(count)
    )


def _poisson_below(count: int, mean: float) -> float:
    """Return the probability of fewer than `count` events."""
    if mean <= 0.0:
        return 1.0
    return sum(exp(k * log(mean) - mean - lgamma(k + 1)) for k in range(count))


def _root(rising: Callable[[float], float], value: float, low: float, high: float) -> float:
    """Return where a rising function has a value."""
    for _ in range(STEPS):
        middle = (low + high) / 2
        if rising(middle) < value:
            low = middle
        else:
            high = middle
    return (low + high) / 2
