"""What is promised is kept: calibrations of simulated cloth whose true rate of false alarms is known."""

from __future__ import annotations

from math import erfc

import numpy as np
import pytest

from edge.config.alarm_budget import LEAST_ALLOWED
from edge.teach.calibration import level_of, tail_of

STRETCHES, EACH, CALIBRATIONS = 670, 4, 300

TAILS = {
    "exponential": (lambda rng, size: rng.exponential(size=size), lambda x: np.exp(-x)),
    "normal": (lambda rng, size: rng.normal(size=size), lambda x: 0.5 * erfc(x / 2**0.5)),
    "log-normal": (
        lambda rng, size: np.exp(0.5 * rng.normal(size=size)),
        lambda x: 0.5 * erfc(np.log(x) * 2**0.5),
    ),
    "Pareto, exponent 8": (lambda rng, size: rng.pareto(8, size) + 1, lambda x: x**-8.0),
    "Weibull, shape 2": (lambda rng, size: rng.weibull(2, size), lambda x: np.exp(-(x**2))),
}


def realised(draw, survival, allowed, channels=1):
    """Return the mean over calibrations of realised over asked, of independent channels."""
    rng = np.random.default_rng(20)
    ratios = []
    for _ in range(CALIBRATIONS):
        peaks = draw(rng, (STRETCHES, EACH, channels))
        maxima = peaks.max(axis=1)
        tails = [tail_of(maxima[:, index]) for index in range(channels)]
        surprises = np.stack([tail.surprise(maxima[:, i]) for i, tail in enumerate(tails)], axis=1)
        level = level_of(surprises.max(axis=1), STRETCHES, allowed)
        rate = sum(float(survival(tail.value_at(level))) for tail in tails)
        ratios.append(rate * STRETCHES * EACH / allowed)
    return float(np.mean(ratios))


@pytest.mark.parametrize("name", TAILS)
@pytest.mark.parametrize("allowed", [LEAST_ALLOWED, 0.9, 3.0, 10.0], ids=str)
def test_realised_over_asked_is_between_0p3_and_1p5_whatever_the_tail(name, allowed):
    assert 0.3 <= realised(*TAILS[name], allowed) <= 1.5


@pytest.mark.parametrize("allowed", [LEAST_ALLOWED, 0.9, 3.0, 10.0], ids=str)
def test_several_channels_share_one_budget(allowed):
    assert 0.3 <= realised(*TAILS["exponential"], allowed, channels=5) <= 1.5
