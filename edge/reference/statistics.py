"""Sum mean and covariance of features so that sums can be added, and compute whitened distances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.reference.contrast import Floats, Mask

RIDGE = 1e-2
"""Of the mean variance, added to each: features that hardly vary must not decide. 1e-3 found 0.560 of the
defects planted in real clean strips at 0.1 false alarms per strip, 1e-2 0.564, 1e-1 0.545."""

PART = 4096
"""Vectors that are whitened at a time: they stay in a processor's cache."""

Float64s = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Hold sums over N vectors of C features.

    Attributes:
        count: N; any positive number once it is weighted.
        total: (C,) float64, sum of the vectors.
        products: (C, C) float64, sum of their outer products.
    """

    count: float
    total: Float64s
    products: Float64s

    @classmethod
    def of(cls, vectors: Floats) -> Moments:
        """Sum up vectors, (C, N)."""
        values = vectors.astype(np.float64)
        return cls(float(values.shape[1]), values.sum(axis=1), values @ values.T)

    def __add__(self, other: Moments) -> Moments:
        """Return the sums over both."""
        return Moments(self.count + other.count, self.total + other.total, self.products + other.products)

    def weighted(self, weight: float) -> Moments:
        """Return the sums, each vector counted so many times."""
        return Moments(self.count * weight, self.total * weight, self.products * weight)

    def as_one(self) -> Moments:
        """Return the sums with the weight of a single vector."""
        return self.weighted(1 / self.count)

    @property
    def mean(self) -> Float64s:
        """(C,) mean vector."""
        return np.asarray(self.total / self.count, np.float64)

    @property
    def covariance(self) -> Float64s:
        """(C, C) covariance."""
        return np.asarray(self.products / self.count - np.outer(self.mean, self.mean), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class UsualVectors:
    """Describe vectors of clean cloth.

    Attributes:
        moments: with the weight of one vector.
        most: distance over the median, up to which a vector is no outlier.
    """

    moments: Moments
    most: float

    def merged(self, other: UsualVectors) -> UsualVectors:
        """Return what both describe, each with the same weight."""
        return UsualVectors((self.moments + other.moments).as_one(), (self.most + other.most) / 2)


@dataclass(frozen=True, slots=True, eq=False)
class Whitening:
    """Map vectors so that clean cloth has mean 0 and covariance 1: y = matrix x - offset.

    Attributes:
        matrix: (C, C) float32.
        offset: (C,) float32.
    """

    matrix: Floats
    offset: Floats

    @classmethod
    def of(cls, moments: Moments) -> Whitening:
        """Whiten vectors with these moments."""
        matrix = np.linalg.inv(np.linalg.cholesky(_ridged(moments.covariance)))
        return cls(matrix.astype(np.float32), (matrix @ moments.mean).astype(np.float32))

    def distances(self, vectors: Floats) -> Floats:
        """Return the Mahalanobis distance of each vector, (C, ...) -> (...)."""
        flat = vectors.reshape(len(vectors), -1)
        squares = np.empty(flat.shape[1], np.float32)
        for first in range(0, flat.shape[1], PART):
            whitened = self.matrix @ flat[:, first : first + PART]
            whitened -= self.offset[:, None]
            np.einsum("cn,cn->n", whitened, whitened, out=squares[first : first + PART])
        return np.asarray(np.sqrt(squares, out=squares).reshape(vectors.shape[1:]), np.float32)


def usual(distances: Floats, most: float) -> Mask:
    """Tell which vectors are no outliers: at most so many times as far off as the median."""
    return np.asarray(distances <= most * np.median(distances), np.bool_)


def trimmed_moments(vectors: Floats, ratio: float) -> Moments:
    """Sum up vectors, (C, N), without the ratio of them that lies furthest off."""
    distances = Whitening.of(Moments.of(vectors)).distances(vectors)
    return Moments.of(vectors[:, distances <= np.quantile(distances, 1 - ratio)])


def divergence(own: Moments, other: Moments) -> float:
    """Measure how far apart two distributions are: 0 for the same, in standard deviations per feature.

    It is the affine-invariant distance of the covariances (Foerstner and Moonen, 1999) and the Mahalanobis
    distance of the means, both as root mean squares over the features.
    """
    whitening = np.linalg.inv(np.linalg.cholesky(_ridged(other.covariance)))
    spread = np.linalg.eigvalsh(whitening @ _ridged(own.covariance) @ whitening.T)
    shift = whitening @ (own.mean - other.mean)
    squares = np.mean(np.log(np.maximum(spread, 1e-12)) ** 2) / 2 + np.mean(shift**2)
    return float(np.sqrt(squares))


def _ridged(covariance: Float64s) -> Float64s:
    ridge = RIDGE * max(float(np.trace(covariance)) / len(covariance), 1e-9)
    return covariance + ridge * np.eye(len(covariance))
