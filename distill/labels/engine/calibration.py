"""Map an annotator's raw scores to the fraction of right boxes, fitted on reviewed images.

Two fits: isotonic regression (Zadrozny and Elkan, 2002), and temperature with an offset, that is a logistic
regression on the logit of the score (Platt, 1999; Guo et al., On Calibration of Modern Neural Networks,
2017).
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator
from typing_extensions import Self

from distill.core.value import Value
from edge.core.errors import DatasetError

Floats = NDArray[np.float64]

LEAST_SAMPLES = 10
ISOTONIC_FROM = 200
"""Boxes from which the isotonic fit is the default: with fewer it follows every accident."""

SCORE_MARGIN = 1e-6
"""Scores are kept this far from 0 and 1 before their logit is taken."""

PRIOR_STRENGTH = 1.0
"""Weight, in boxes, of the prior that keeps the fit finite where right and wrong are parted cleanly."""

LEAST_SLOPE = 1e-3
"""Of the logit: a fit may not turn the order of the scores around."""


class IsotonicCalibration(Value):
    """Map scores by a rising line through knots.

    Attributes:
        scores: of the knots, rising.
        shares: right among boxes of that score, not falling.
    """

    kind: Literal["isotonic"] = "isotonic"
    scores: tuple[float, ...] = Field(min_length=1)
    shares: tuple[Annotated[float, Field(ge=0, le=1)], ...]

    @model_validator(mode="after")
    def _is_rising(self) -> Self:
        if len(self.scores) != len(self.shares):
            raise ValueError("as many shares as scores are needed")
        if (np.diff(self.scores) <= 0).any() or (np.diff(self.shares) < 0).any():
            raise ValueError("scores have to rise, and shares must not fall")
        return self

    def __call__(self, score: float) -> float:
        return float(np.interp(score, self.scores, self.shares))


class TemperatureCalibration(Value):
    """Map scores by sigmoid(logit(score) / temperature + offset)."""

    kind: Literal["temperature"] = "temperature"
    temperature: float = Field(gt=0)
    offset: float = 0.0

    def __call__(self, score: float) -> float:
        return float(_sigmoid(_logit(np.array(score)) / self.temperature + self.offset))


Calibration = Annotated[IsotonicCalibration | TemperatureCalibration, Field(discriminator="kind")]
Method = Literal["auto", "isotonic", "temperature"]


def fit_calibration(
    scores: ArrayLike, is_right: ArrayLike, method: Method = "auto"
) -> IsotonicCalibration | TemperatureCalibration:
    """Fit on boxes that a person has judged.

    Args:
        scores: (N,) raw, in [0, 1].
        is_right: (N,) bool.
        method: `auto` takes isotonic from `ISOTONIC_FROM` boxes on.
    Raises:
        DatasetError: if there are too few boxes, or none that is right or wrong.
        ValueError: if the lengths differ or a score is not in [0, 1].
    """
    values, right = _checked(scores, is_right)
    if len(values) < LEAST_SAMPLES or right.min() == right.max():
        raise DatasetError(
            f"{len(values)} reviewed boxes, {int(right.sum())} of them right, are too few to calibrate on.",
            f"Review more images: {LEAST_SAMPLES} boxes at least, right ones and wrong ones.",
        )
    if method == "isotonic" or (method == "auto" and len(values) >= ISOTONIC_FROM):
        return _fit_isotonic(values, right)
    return _fit_temperature(values, right)


def calibrated(calibration: IsotonicCalibration | TemperatureCalibration, scores: ArrayLike) -> Floats:
    """Map many scores, (N,)."""
    return np.array([calibration(float(score)) for score in np.asarray(scores).ravel()], np.float64)


def _checked(scores: ArrayLike, is_right: ArrayLike) -> tuple[Floats, Floats]:
    values, right = np.asarray(scores, np.float64).ravel(), np.asarray(is_right, np.float64).ravel()
    if values.shape != right.shape or not ((values >= 0) & (values <= 1)).all():
        raise ValueError("as many scores in [0, 1] as judgements are needed")
    return values, right


def _fit_isotonic(scores: Floats, right: Floats) -> IsotonicCalibration:
    """Make a knot of each run of scores that the regression gives one fraction, at their mean."""
    levels, positions, counts = np.unique(scores, return_inverse=True, return_counts=True)
    shares = np.bincount(positions, weights=right) / counts
    from scipy.optimize import isotonic_regression  # a second to import, for whoever has nothing to fit

    fit = isotonic_regression(shares, weights=counts)
    starts = fit.blocks[:-1]
    knots = np.add.reduceat(levels * counts, starts) / np.add.reduceat(counts, starts)
    return IsotonicCalibration(
        scores=tuple(knots.tolist()), shares=tuple(np.clip(fit.x[starts], 0, 1).tolist())
    )


def _fit_temperature(scores: Floats, right: Floats) -> TemperatureCalibration:
    """Maximise the likelihood, with a weak prior at temperature 1 and offset 0."""
    logits, sign = _logit(scores), np.where(right > 0, 1.0, -1.0)

    def cost(weights: Floats) -> float:
        slope, offset = weights
        prior = PRIOR_STRENGTH / 2 * ((slope - 1) ** 2 + offset**2)
        return float(np.logaddexp(0.0, -sign * (slope * logits + offset)).sum() + prior)

    from scipy.optimize import minimize  # see above

    found = minimize(cost, x0=[1.0, 0.0], method="L-BFGS-B", bounds=[(LEAST_SLOPE, None), (None, None)])
    slope, offset = found.x.tolist()
    return TemperatureCalibration(temperature=1 / slope, offset=offset)


def _logit(scores: Floats) -> Floats:
    kept = np.clip(scores, SCORE_MARGIN, 1 - SCORE_MARGIN)
    return np.log(kept) - np.log1p(-kept)


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * values)), np.float64)
