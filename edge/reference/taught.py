"""Learn what the clean cloth of an article looks like: arrays, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelError
from edge.image import Image
from edge.reference.contrast import Floats, Mask
from edge.reference.maps import CHANNELS, channel_map, crest_of, evened, relative
from edge.reference.statistics import Moments, Whitening, trimmed_moments
from edge.reference.trunk import EDGE_PX, SELVEDGE_PX, STRIDE_PX, Features, Trunk, vectors_of

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

LEAST_CREST = 1e-3
"""Cloth that is all alike has none."""

MOST_SELVEDGE_PX = 160
"""Of a selvedge, beyond the margin that is left out of any cloth."""

SELVEDGE_TOP = 1.12
"""Times the usual distance, from which on a column of cells belongs to the selvedge."""

SELVEDGE_GAP = 5
"""Columns of cells that look like cloth end a selvedge."""


@dataclass(frozen=True, slots=True, eq=False)
class TaughtCloth:
    """Hold the clean cloth of an article.

    Attributes:
        moments: of its features, each image with the weight of one vector.
        most_usual: distance over the median, up to which a feature is no outlier.
        medians, crests: channel -> usual value, and how far an image usually goes beyond it (`crest_of`).
        selvedges_px: so near to the left and to the right edge of the cloth nothing is judged.
        trunk_digest: of the network that the features are of.
    """

    moments: Moments
    most_usual: float
    medians: Mapping[str, float]
    crests: Mapping[str, float]
    selvedges_px: tuple[int, int]
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
            {name: float(np.median([fit.crests[name] for fit in fits])) for name in CHANNELS},
            selvedges_of([fit.selvedges_px for fit in fits]),
            trunk.digest,
        )

    def excess(self, name: str, values: Floats) -> Floats:
        """Return how far a channel's values exceed the usual; 0 for no value.

        The unit is the geometric mean of what is usual for the article and of what is usual in this image:
        cloth of another day, rougher all over or with bands along much of its width, raises its own level,
        and a defect, which is nowhere near as wide as an image, does not.
        """
        is_valid = np.asarray(values > 0, np.bool_)
        if not is_valid.any():
            return np.zeros_like(values)
        even = evened(values, is_valid)
        usual = self.crests[name]
        own = min(max(crest_of(even, is_valid), usual / MOST_OFF), usual * MOST_OFF)
        return np.asarray(np.maximum(even, 0) / np.float32((own * usual) ** 0.5), np.float32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return it as arrays, for a file."""
        return {
            "count": np.float64(self.moments.count)[...],
            "total": self.moments.total,
            "products": self.moments.products,
            "most_usual": np.float64(self.most_usual)[...],
            "channels": np.array(list(CHANNELS)),
            "medians": np.array([self.medians[name] for name in CHANNELS], np.float64),
            "crests": np.array([self.crests[name] for name in CHANNELS], np.float64),
            "selvedges_px": np.array(self.selvedges_px, np.int64),
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
        crests = _finite(arrays["crests"], (len(CHANNELS),))
        if (
            not moments.count > 0
            or not (crests > 0).all()
            or np.linalg.eigvalsh(moments.covariance)[0] < -1e-6
        ):
            raise ValueError("its numbers are impossible")
        most_usual = float(_finite(arrays["most_usual"], ()))
        selvedges = _finite(arrays["selvedges_px"], (2,))
        if most_usual < 1 or selvedges.min() < 0 or selvedges.max() > MOST_SELVEDGE_PX + SELVEDGE_PX:
            raise ValueError("its numbers are impossible")
        return cls(
            moments,
            most_usual,
            dict(zip(CHANNELS, medians.tolist(), strict=True)),
            dict(zip(CHANNELS, crests.tolist(), strict=True)),
            (int(selvedges[0]), int(selvedges[1])),
            trunk.digest,
        )


def own_moments(image: Image, is_cloth: Mask | None, trunk: Trunk) -> Moments | None:
    """Return the moments of an image's features, without outliers, of whatever article it is.

    Returns:
        With the weight of one vector; None if the image shows too little cloth.
    """
    features = trunk.features(image, is_cloth, selvedges_of([(0, 0)]))
    if int(features.is_judged.sum()) < LEAST_CELLS:
        return None
    return _trimmed(features).as_one()


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """Hold what one image of clean cloth says."""

    moments: Moments
    most_usual: float
    medians: Mapping[str, float]
    crests: Mapping[str, float]
    selvedges_px: tuple[int, int]

    @classmethod
    def of(cls, features: Features) -> _Fit | None:
        """Fit an image; None if it is too low or too narrow for the window of a channel."""
        whitening = Whitening.of(_trimmed(features))
        distances = whitening.distances(features.vectors)
        left, right = (selvedge_cells(distances[:, ::way], features.is_judged[:, ::way]) for way in (1, -1))
        inner = replace(features, is_judged=_without_columns(features.is_judged, left, right))
        moments = _trimmed(inner)
        ratios = relative(Whitening.of(moments).distances(inner.vectors), inner.is_judged)
        maps = {name: channel_map(ratios, inner.is_judged, one) for name, one in CHANNELS.items()}
        valid = {name: np.asarray(one > 0, np.bool_) for name, one in maps.items()}
        if not all(one.any() for one in valid.values()):
            return None
        medians = {name: float(np.median(one[valid[name]])) for name, one in maps.items()}
        crests = {name: _crest(one, valid[name]) for name, one in maps.items()}
        most_usual = float(np.quantile(ratios[inner.is_judged], USUAL_RATIO))
        selvedges_px = (left * STRIDE_PX, right * STRIDE_PX)
        return cls(moments.as_one(), most_usual, medians, crests, selvedges_px)


def selvedges_of(beyond_px: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the margins of an article: of those measured, one that three of four images keep within."""
    left, right = np.quantile(np.array(beyond_px), 0.75, axis=0, method="higher")
    return int(left) + SELVEDGE_PX + EDGE_PX, int(right) + SELVEDGE_PX + EDGE_PX


def selvedge_cells(distances: Floats, is_judged: Mask) -> int:
    """Measure how many columns at the left look otherwise than the cloth inside of them.

    Args:
        distances, is_judged: (h, w).
    Returns:
        A number of columns of cells; 0 where the cloth reaches the border of the image.
    """
    columns = np.flatnonzero(is_judged.any(axis=0))
    first, reach = int(columns[0]), MOST_SELVEDGE_PX // STRIDE_PX
    if first <= EDGE_PX // STRIDE_PX or len(columns) < 4 * reach:
        return 0
    seen = np.where(is_judged, distances, np.nan)[:, first : first + 4 * reach]
    if np.isnan(seen).all(axis=0).any():
        return 0
    usual_here = np.nanmedian(seen, axis=0)
    smooth = np.convolve(np.pad(usual_here, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    over = np.flatnonzero(smooth[:reach] > SELVEDGE_TOP * np.median(usual_here[reach:]))
    gaps = np.diff(over, prepend=-1)
    joined = over[: int(np.argmax(gaps > SELVEDGE_GAP))] if (gaps > SELVEDGE_GAP).any() else over
    return int(joined[-1]) + 2 if len(joined) else 0


def _without_columns(is_judged: Mask, left: int, right: int) -> Mask:
    columns = np.flatnonzero(is_judged.any(axis=0))
    inner: Mask = is_judged.copy()
    inner[:, : columns[0] + left] = False
    inner[:, columns[-1] + 1 - right :] = False
    return inner


def _trimmed(features: Features) -> Moments:
    return trimmed_moments(vectors_of(features, MOST_VECTORS), TRIMMED_RATIO)


def _crest(values: Floats, is_valid: Mask) -> float:
    return max(LEAST_CREST, crest_of(evened(values, is_valid), is_valid))


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
