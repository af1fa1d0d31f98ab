"""Learn what the clean cloth of an article looks like: arrays, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelError
from edge.image import Image
from edge.reference.contrast import Mask
from edge.reference.maps import CHANNELS, channel_map, relative
from edge.reference.statistics import Moments, Whitening, trimmed_moments
from edge.reference.trunk import Features, Trunk, vectors_of

TRIMMED_RATIO = 0.03
"""Of an image's features, left out of its fit: clean cloth that is taught may hold defects."""

MOST_VECTORS = 40_000
"""Of one image that are looked at for a fit: 32 features need no more."""

LEAST_CELLS = 1024
"""Of 2 x 2 px: an image with less cloth is not fitted, and not judged."""

USUAL_RATIO = 0.98
"""So many of the cloth's distances are usual; what is further off is an outlier."""

SPREAD_RATIO = 0.999
"""A channel's unit is the distance from its median to this quantile of clean cloth."""


@dataclass(frozen=True, slots=True, eq=False)
class TaughtCloth:
    """Hold the clean cloth of an article.

    Attributes:
        moments: of its features, each image with the weight of one vector.
        most_usual: distance over the median, up to which a feature is no outlier.
        medians, spreads: channel -> usual value, and the unit of its excess.
        trunk_digest: of the network that the features are of.
    """

    moments: Moments
    most_usual: float
    medians: Mapping[str, float]
    spreads: Mapping[str, float]
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
            {name: float(np.median([fit.medians[name] for fit in fits])) for name in CHANNELS},
            {name: float(np.median([fit.spreads[name] for fit in fits])) for name in CHANNELS},
            trunk.digest,
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return it as arrays, for a file."""
        return {
            "count": np.float64(self.moments.count)[...],
            "total": self.moments.total,
            "products": self.moments.products,
            "most_usual": np.float64(self.most_usual)[...],
            "channels": np.array(list(CHANNELS)),
            "medians": np.array([self.medians[name] for name in CHANNELS], np.float64),
            "spreads": np.array([self.spreads[name] for name in CHANNELS], np.float64),
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
        if str(arrays["trunk_digest"]) != trunk.digest or list(arrays["channels"]) != list(CHANNELS):
            raise ModelError(
                "The reference was taught with other features than this version computes.",
                "Teach the article again.",
            )
        moments = Moments(
            float(arrays["count"]),
            _finite(arrays["total"], (trunk.channels,)),
            _finite(arrays["products"], (trunk.channels, trunk.channels)),
        )
        medians = _finite(arrays["medians"], (len(CHANNELS),))
        spreads = _finite(arrays["spreads"], (len(CHANNELS),))
        if (
            not moments.count > 0
            or not (spreads > 0).all()
            or np.linalg.eigvalsh(moments.covariance)[0] < -1e-6
        ):
            raise ValueError("its numbers are impossible")
        most_usual = float(_finite(arrays["most_usual"], ()))
        return cls(
            moments,
            most_usual,
            dict(zip(CHANNELS, medians.tolist(), strict=True)),
            dict(zip(CHANNELS, spreads.tolist(), strict=True)),
            trunk.digest,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """Hold what one image of clean cloth says."""

    moments: Moments
    most_usual: float
    medians: Mapping[str, float]
    spreads: Mapping[str, float]

    @classmethod
    def of(cls, features: Features) -> _Fit | None:
        """Fit an image; None if it is too low or too narrow for the window of a channel."""
        moments = trimmed_moments(vectors_of(features, MOST_VECTORS), TRIMMED_RATIO)
        ratios = relative(Whitening.of(moments).distances(features.vectors), features.is_judged)
        maps = {name: channel_map(ratios, features.is_judged, one) for name, one in CHANNELS.items()}
        values = {name: one[one > 0] for name, one in maps.items()}
        if not all(len(one) for one in values.values()):
            return None
        medians = {name: float(np.median(one)) for name, one in values.items()}
        spreads = {
            name: max(1e-3, float(np.quantile(one, SPREAD_RATIO)) - medians[name])
            for name, one in values.items()
        }
        most_usual = float(np.quantile(ratios[features.is_judged], USUAL_RATIO))
        return cls(moments.as_one(), most_usual, medians, spreads)


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
