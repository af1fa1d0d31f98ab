"""Learn what the clean cloth of an article looks like: arrays, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
from edge.reference.maps import CHANNELS, channel_map, crest_of, evened, relative
from edge.reference.statistics import Moments, Whitening, trimmed_moments
from edge.reference.trunk import Features, Trunk, vectors_of

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
        moments: of its features, each image with the weight of one vector.
        most_usual: distance over the median, up to which a feature is no outlier.
        crests: channel -> how far an image usually goes beyond its usual value (`crest_of`).
        heights: channel -> (2, EDGE_CELLS), how much higher columns near to the edges of the cloth go.
        trunk_digest: of the network that the features are of.
    """

    moments: Moments
    most_usual: float
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
        moments = sum((fit.moments for fit in fits[1:]), fits[0].moments).as_one()
        return cls(
            moments,
            float(np.median([fit.most_usual for fit in fits])),
            {name: float(np.median([fit.crests[name] for fit in fits])) for name in CHANNELS},
            {name: usual_heights([fit.heights[name] for fit in fits]) for name in CHANNELS},
            trunk.digest,
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
        return {
            "count": np.float64(self.moments.count)[...],
            "total": self.moments.total,
            "products": self.moments.products,
            "most_usual": np.float64(self.most_usual)[...],
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
        is_older = "heights" not in arrays
        if (
            is_older
            or str(arrays["trunk_digest"]) != trunk.digest
            or list(arrays["channels"]) != list(CHANNELS)
        ):
            raise ModelError(
                "The reference was taught with other features than this version computes.",
                "Teach the article again.",
            )
        moments = Moments(
            float(arrays["count"]),
            _finite(arrays["total"], (trunk.channels,)),
            _finite(arrays["products"], (trunk.channels, trunk.channels)),
        )
        crests = _finite(arrays["crests"], (len(CHANNELS),))
        if (
            not moments.count > 0
            or not (crests > 0).all()
            or np.linalg.eigvalsh(moments.covariance)[0] < -1e-6
        ):
            raise ValueError("its numbers are impossible")
        most_usual = float(_finite(arrays["most_usual"], ()))
        heights = _finite(arrays["heights"], (len(CHANNELS), 2, EDGE_CELLS)).astype(np.float32)
        if most_usual < 1 or heights.min() < 1:
            raise ValueError("its numbers are impossible")
        return cls(
            moments,
            most_usual,
            dict(zip(CHANNELS, crests.tolist(), strict=True)),
            dict(zip(CHANNELS, heights, strict=True)),
            trunk.digest,
        )


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

    moments: Moments
    most_usual: float
    crests: Mapping[str, float]
    heights: Mapping[str, Floats]

    @classmethod
    def of(cls, features: Features) -> _Fit | None:
        """Fit an image; None if it is too low or too narrow for the window of a channel."""
        inner = _without_selvedges(features)
        moments = _trimmed(inner)
        whitening = Whitening.of(moments)
        ratios = relative(whitening.distances(features.vectors), features.is_judged)
        crests, heights = {}, {}
        for name, channel in CHANNELS.items():
            values = channel_map(ratios, features.is_judged, channel)
            is_valid = np.asarray(values > 0, np.bool_)
            if not is_valid.any():
                return None
            even = evened(values, is_valid)
            crests[name] = max(LEAST_CREST, crest_of(even, is_valid))
            heights[name] = edge_heights(even, is_valid, crests[name])
        most_usual = float(np.quantile(ratios[inner.is_judged], USUAL_RATIO))
        return cls(moments.as_one(), most_usual, crests, heights)


def _without_selvedges(features: Features) -> Features:
    """Leave out what lies near to the edges of the cloth, and looks otherwise."""
    inner = replace(features, is_judged=core(features.is_judged))
    if not inner.is_judged.any():
        return features
    distances = Whitening.of(_trimmed(inner)).distances(features.vectors)
    left, right = (selvedge_cells(distances[:, ::way], inner.is_judged[:, ::way]) for way in (1, -1))
    return replace(inner, is_judged=without_columns(inner.is_judged, left, right))


def _trimmed(features: Features) -> Moments:
    return trimmed_moments(vectors_of(features, MOST_VECTORS), TRIMMED_RATIO)


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
