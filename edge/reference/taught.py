"""Learn what the clean cloth of an article looks like: arrays, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.core.errors import ModelError
from edge.core.image import Image
from edge.reference.contrast import Floats, Mask
from edge.reference.edges import (
    EDGE_CELLS,
    core,
    raised_columns,
    selvedge_cells,
    usual_heights,
    without_columns,
)
from edge.reference.edges import heights as edge_heights
from edge.reference.lines import LineMeans
from edge.reference.maps import CHANNELS, LINES, channel_values, crest_of, evened, relative
from edge.reference.specks import SIDE_PX, speck_filter, speck_response, spectrum_of
from edge.reference.statistics import Moments, UsualVectors, Whitening, trimmed_moments
from edge.reference.trunk import Features, Trunk, sample_of

VECTORS = ("cells", *LINES)
"""What has features of its own."""

Spectrum = tuple[NDArray[np.float64], int]
"""Sum over windows, and how many."""

TRIMMED_RATIO = 0.03
"""Of an image's features, left out of its fit: clean cloth that is taught may hold defects."""

MOST_VECTORS = 8_000
"""Of one image that are looked at for a fit: 40 features need no more."""

LEAST_CELLS = 256
"""Of 4 x 4 px: an image with less cloth is not fitted, and not judged."""

USUAL_RATIO = 0.98
"""So many of the cloth's distances are usual; what is further off is an outlier."""

MOST_OFF = 4.0
"""Times the article's own crest, or its inverse, that the crest of one image counts at most: a defect as
wide as the image must not become usual."""

LEAST_COLUMNS = 256
"""Of cells, 1024 px: the crest of a narrower image says as much of its greatest place as of the cloth. On
simulated cloth 256 px wide, twice the false alarms that were asked for came of it."""

LEAST_CREST = 1e-3
"""Cloth that is all alike has none."""


@dataclass(frozen=True, slots=True, eq=False)
class TaughtCloth:
    """Hold the clean cloth of an article.

    Attributes:
        usual: its features, of "cells" and of each of `LINES`; each image has the weight of one vector.
        spectrum: (SIDE_PX, SIDE_PX) float64, its power spectrum.
        crests: channel -> how far an image usually goes beyond its usual value (`crest_of`).
        heights: channel -> (2, EDGE_CELLS), how much higher columns near to the edges of the cloth go.
        trunk_digest: of the network that the features are of.
    """

    usual: Mapping[str, UsualVectors]
    spectrum: NDArray[np.float64]
    crests: Mapping[str, float]
    heights: Mapping[str, Floats]
    trunk_digest: str

    @classmethod
    def fit(cls, images: Iterable[tuple[Image, Mask | None]], trunk: Trunk) -> TaughtCloth:
        """Learn from clean cloth.

        Args:
            images: with the mask of what is cloth in each; None for all. Those without cloth are skipped.
            trunk: computes the features.
        Raises:
            ValueError: if no image shows enough cloth.
        """
        fits = [fit for one in _with_cloth(images, trunk) if (fit := _Fit.of(one)) is not None]
        if not fits:
            raise ValueError("no image shows enough cloth to learn from")
        return cls(
            {name: _usual_of([fit.usual[name] for fit in fits]) for name in VECTORS},
            _spectrum_of([fit.spectrum for fit in fits]),
            {name: float(np.median([fit.crests[name] for fit in fits])) for name in CHANNELS},
            {name: usual_heights([fit.heights[name] for fit in fits]) for name in CHANNELS},
            trunk.digest,
        )

    @property
    def moments(self) -> Moments:
        """Of the features of its cells."""
        return self.usual["cells"].moments

    def merged(self, other: TaughtCloth) -> TaughtCloth:
        """Return what both were taught, each with the same weight."""
        return replace(
            self,
            usual={name: one.merged(other.usual[name]) for name, one in self.usual.items()},
            spectrum=(self.spectrum + other.spectrum) / 2,
            crests={name: (self.crests[name] + other.crests[name]) / 2 for name in self.crests},
            heights={name: np.maximum(self.heights[name], other.heights[name]) for name in self.heights},
        )

    def excess(self, name: str, values: Floats) -> Floats:
        """Return how far a channel's values exceed the usual; 0 for no value.

        The unit is the geometric mean of what is usual for the article and of what is usual in this image:
        cloth of another day, rougher all over or with bands along much of its width, raises its own level,
        and a defect, which is nowhere near as wide as a wide image, does not.
        """
        is_valid = np.asarray(values > 0, np.bool_)
        if not is_valid.any():
            return np.zeros_like(values)
        even = evened(values, is_valid)
        usual = self.crests[name]
        own = usual
        if np.count_nonzero(is_valid.any(axis=0)) >= LEAST_COLUMNS:
            own = min(max(crest_of(even, is_valid), usual / MOST_OFF), usual * MOST_OFF)
        units = raised_columns(self.heights[name], is_valid) * np.float32((own * usual) ** 0.5)
        return np.asarray(np.maximum(even, 0) / units, np.float32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return it as arrays, for a file."""
        moments = [self.usual[name].moments for name in VECTORS]
        return {
            "count": np.array([one.count for one in moments], np.float64),
            "total": np.stack([one.total for one in moments]),
            "products": np.stack([one.products for one in moments]),
            "most_usual": np.array([self.usual[name].most for name in VECTORS], np.float64),
            "spectrum": self.spectrum,
            "channels": np.array(list(CHANNELS)),
            "crests": np.array([self.crests[name] for name in CHANNELS], np.float64),
            "heights": np.stack([self.heights[name] for name in CHANNELS]),
            "trunk_digest": np.array(self.trunk_digest),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], trunk: Trunk) -> TaughtCloth:
        """Return what `arrays` gave.

        Raises:
            ModelError: if arrays are missing, damaged, or of other features than `trunk` gives.
        """
        try:
            return cls._from_arrays(arrays, trunk)
        except (KeyError, ValueError, TypeError) as error:
            raise ModelError(f"The reference is damaged: {error}.", "Teach the article again.") from error

    @classmethod
    def _from_arrays(cls, arrays: Mapping[str, NDArray[Any]], trunk: Trunk) -> TaughtCloth:
        if (
            not {"heights", "spectrum"} <= set(arrays)
            or str(arrays["trunk_digest"]) != trunk.digest
            or list(arrays["channels"]) != list(CHANNELS)
        ):
            raise ModelError(
                "The reference was taught with other features than this version computes.",
                "Teach the article again.",
            )
        crests = _finite(arrays["crests"], (len(CHANNELS),))
        heights = _finite(arrays["heights"], (len(CHANNELS), 2, EDGE_CELLS)).astype(np.float32)
        spectrum = _finite(arrays["spectrum"], (SIDE_PX, SIDE_PX))
        if not (crests > 0).all() or heights.min() < 1 or not (spectrum.min() >= 0 < spectrum.max()):
            raise ValueError("its numbers are impossible")
        return cls(
            _usual_from(arrays, trunk.channels),
            spectrum,
            dict(zip(CHANNELS, crests.tolist(), strict=True)),
            dict(zip(CHANNELS, heights, strict=True)),
            trunk.digest,
        )


def _usual_of(images: Sequence[UsualVectors]) -> UsualVectors:
    moments = sum((one.moments for one in images[1:]), images[0].moments).as_one()
    return UsualVectors(moments, float(np.median([one.most for one in images])))


def _usual_from(arrays: Mapping[str, NDArray[Any]], channels: int) -> dict[str, UsualVectors]:
    counts = _finite(arrays["count"], (len(VECTORS),))
    totals = _finite(arrays["total"], (len(VECTORS), channels))
    products = _finite(arrays["products"], (len(VECTORS), channels, channels))
    most = _finite(arrays["most_usual"], (len(VECTORS),))
    usual = {}
    for number, name in enumerate(VECTORS):
        moments = Moments(float(counts[number]), totals[number], products[number])
        if (
            not moments.count > 0
            or most[number] < 1
            or np.linalg.eigvalsh(moments.covariance)[0] < -1e-6 * max(1.0, np.trace(moments.covariance))
        ):
            raise ValueError("its numbers are impossible")
        usual[name] = UsualVectors(moments, float(most[number]))
    return usual


def _spectrum_of(images: Sequence[Spectrum]) -> NDArray[np.float64]:
    """Return the mean spectrum; that of noise where no image shows a whole window of cloth."""
    windows = sum(count for _, count in images)
    if not windows:
        return np.ones((SIDE_PX, SIDE_PX))
    return np.asarray(sum(total for total, _ in images) / windows, np.float64)


def own_moments(image: Image, is_cloth: Mask | None, trunk: Trunk) -> Moments | None:
    """Return the moments of an image's features, without outliers, of whatever article it is.

    Returns:
        With the weight of one vector; None if the image shows too little cloth.
    """
    features = trunk.features(image, is_cloth)
    if int(features.is_judged.sum()) < LEAST_CELLS:
        return None
    return _trimmed(_without_selvedges(features)).as_one()


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """Hold what one image of clean cloth says."""

    usual: Mapping[str, UsualVectors]
    spectrum: Spectrum
    crests: Mapping[str, float]
    heights: Mapping[str, Floats]

    @classmethod
    def of(cls, features: Features) -> _Fit | None:
        """Fit an image; None if it is too low or too narrow for the window of a channel."""
        inner = _without_selvedges(features)
        spectrum = spectrum_of(features.contrast, inner.is_judged)
        kernel = speck_filter(_spectrum_of([spectrum]))
        response = speck_response(features.contrast, kernel)
        planes = {"pixels": (relative(response, features.is_judged), features.is_judged)}
        usual = {}
        for name in VECTORS:
            fitted = _fitted(name, features, inner)
            if fitted is None:
                return None
            usual[name], planes[name] = fitted
        crests, heights = {}, {}
        for name, values, is_valid in channel_values(planes):
            if not is_valid.any():
                return None
            even = evened(values, is_valid)
            crests[name] = max(LEAST_CREST, crest_of(even, is_valid))
            heights[name] = edge_heights(even, is_valid, crests[name])
        return cls(usual, spectrum, crests, heights)


def _fitted(
    name: str, features: Features, inner: Features
) -> tuple[UsualVectors, tuple[Floats, Mask]] | None:
    """Fit the vectors of cells or lines, without selvedges; return them and the ratios of all."""
    if name == "cells":
        moments = _trimmed(inner)
        plane = relative(Whitening.of(moments).distances(features.vectors), features.is_judged)
        return _described(moments, plane, inner.is_judged), (plane, features.is_judged)
    means = LineMeans.of(features.vectors, inner.is_judged, CHANNELS[name])
    if not means.has_value.any():
        return None
    moments = trimmed_moments(sample_of(means.vectors, means.has_value, MOST_VECTORS), TRIMMED_RATIO)
    whitening = Whitening.of(moments)
    of_all = LineMeans.of(features.vectors, features.is_judged, CHANNELS[name]).ratios(whitening)
    return _described(moments, *means.ratios(whitening)), of_all


def _described(moments: Moments, ratios: Floats, is_judged: Mask) -> UsualVectors:
    return UsualVectors(moments.as_one(), max(1.0, float(np.quantile(ratios[is_judged], USUAL_RATIO))))


def _without_selvedges(features: Features) -> Features:
    """Leave out what lies near to the edges of the cloth, and looks otherwise."""
    inner = replace(features, is_judged=core(features.is_judged))
    if not inner.is_judged.any():
        return features
    distances = Whitening.of(_trimmed(inner)).distances(features.vectors)
    left, right = (selvedge_cells(distances[:, ::way], inner.is_judged[:, ::way]) for way in (1, -1))
    return replace(inner, is_judged=without_columns(inner.is_judged, left, right))


def _trimmed(features: Features) -> Moments:
    vectors = sample_of(features.vectors, features.is_judged, MOST_VECTORS)
    return trimmed_moments(vectors, TRIMMED_RATIO)


def _with_cloth(images: Iterable[tuple[Image, Mask | None]], trunk: Trunk) -> Iterable[Features]:
    for image, is_cloth in images:
        features = trunk.features(image, is_cloth)
        if features.is_judged.sum() >= LEAST_CELLS:
            yield features


def _finite(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float64]:
    values = np.asarray(array, np.float64)
    if values.shape != shape or not np.isfinite(values).all():
        raise ValueError(f"numbers of the shape {values.shape} instead of {shape}, or not finite")
    return values
