"""Look at images of an article's cloth for what does not belong there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from edge.core.image import Image
from edge.reference.contrast import BRIGHTEST_GREY, DARKEST_GREY, Floats, Mask
from edge.reference.follow import ImageFit, RollReference
from edge.reference.lines import LineMeans
from edge.reference.maps import CHANNELS, LINES, channel_values, relative
from edge.reference.regions import Regions, find_regions, no_regions
from edge.reference.specks import speck_filter, speck_response
from edge.reference.statistics import Moments
from edge.reference.taught import LEAST_CELLS, TaughtCloth
from edge.reference.trunk import STRIDE_PX, Features, Trunk, sample_of

MOST_VECTORS = 4_000
"""Of an image, for its fit: a hundred for each of the features."""

BLOCK_PX = 256
"""Width of a block: far wider than a region of clean cloth that comes near to a level."""

LEAST_SHOWN = 0.5
"""A block with less cloth, next to the one with most of it, says nothing of the tail."""

Levels = Mapping[str, float]
"""Channel -> excess over the usual, in the article's own units, from which on something is reported."""

NotJudged = Literal["no cloth", "black", "saturated", "blank"]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """Hold what the reference model says of one image.

    Attributes:
        regions: those that reach their level; none where no levels are set.
        maxima: channel -> the largest value on the cloth of this image; empty if nothing was judged.
        block_maxima: channel -> (blocks,) float32, the largest value in each block of the image's width
            that shows cloth: what an image says of the tail of clean cloth. Empty if nothing was judged.
        cloth_px: how many pixels were judged.
        fit_distance: of the image's features to what was taught; None if nothing was judged.
        not_judged: why nothing was; None if something was.
        own: moments of the image's features without outliers; None if nothing was judged.
    """

    regions: Regions
    maxima: Mapping[str, float]
    cloth_px: int
    fit_distance: float | None
    not_judged: NotJudged | None = None
    block_maxima: Mapping[str, Floats] = field(default_factory=dict)
    own: Moments | None = None


class ReferenceModel:
    """Compare cloth with itself: with what was taught, with the roll so far, with the rest of the image.

    Images are looked at in order; the same images in the same order give the same result to the bit.

    Args:
        trunk: computes features.
        taught: the article's clean cloth.
        levels: channel -> level; None to report nothing.
    """

    def __init__(self, trunk: Trunk, taught: TaughtCloth, levels: Levels | None = None) -> None:
        if levels is not None and set(levels) != set(CHANNELS):
            raise ValueError(f"levels are needed for {', '.join(CHANNELS)}")
        self._trunk = trunk
        self._taught = taught
        self._levels = levels
        self._rolls = {name: RollReference(usual) for name, usual in taught.usual.items()}
        self._kernel = speck_filter(taught.spectrum)

    def restart(self) -> None:
        """Forget the roll: the next image is compared with itself and what was taught."""
        for roll in self._rolls.values():
            roll.restart()

    def look(self, image: Image, is_cloth: Mask | None = None, *, follow: bool = True) -> Look:
        """Look at an image.

        Args:
            image: (H, W) grey or (H, W, 3) BGR, uint8, at the scale that was taught.
            is_cloth: (H, W) bool, where cloth is and something may be reported; None for all.
            follow: whether the roll is followed; False leaves the model as it is.
        """
        features = self._trunk.features(image, is_cloth)
        cells = int(features.is_judged.sum())
        if cells < LEAST_CELLS:
            return Look(no_regions(), {}, 0, None, _why_not(features, is_cloth))
        excess, fit = self._excess(features, follow=follow)
        maxima = {name: float(values.max()) for name, values in excess.items()}
        cloth_px = cells * self._trunk.stride_px**2
        blocks = block_maxima(excess, features.is_judged)
        regions = self._regions(excess, image.shape[:2])
        return Look(regions, maxima, cloth_px, fit.distance, block_maxima=blocks, own=fit.own)

    def maps(self, features: Features, *, follow: bool = True) -> tuple[dict[str, Floats], float]:
        """Map what does not belong to the cloth.

        Args:
            features: of an image with at least `LEAST_CELLS` cells that are judged.
            follow: as of `look`.
        Returns:
            channel -> (h, w) float32, the excess over the usual in units of the article, 0 where nothing is
            judged; and the distance of the image's features to what was taught.
        """
        excess, fit = self._excess(features, follow=follow)
        return excess, fit.distance

    def _excess(self, features: Features, *, follow: bool) -> tuple[dict[str, Floats], ImageFit]:
        """Return the excess of each channel over the usual, and the fit of the image's cells.

        The excess is in units of the article, 0 where nothing is judged.
        """
        fit = self._fit("cells", features.vectors, features.is_judged, follow=follow)
        cells = relative(fit.whitening.distances(features.vectors), features.is_judged)
        pixels = relative(speck_response(features.contrast, self._kernel), features.is_judged)
        planes = {"cells": (cells, features.is_judged), "pixels": (pixels, features.is_judged)}
        for name in LINES:
            planes[name] = self._lines(name, features, follow=follow)
        excess = {name: self._taught.excess(name, values) for name, values, _ in channel_values(planes)}
        return excess, fit

    def _lines(self, name: str, features: Features, *, follow: bool) -> tuple[Floats, Mask]:
        means = LineMeans.of(features.vectors, features.is_judged, CHANNELS[name])
        if not means.has_value.any():
            return np.zeros(features.is_judged.shape, np.float32), np.zeros_like(features.is_judged)
        return means.ratios(self._fit(name, means.vectors, means.has_value, follow=follow).whitening)

    def _fit(self, name: str, vectors: Floats, has_value: Mask, *, follow: bool) -> ImageFit:
        fit = self._rolls[name].fit(sample_of(vectors, has_value, MOST_VECTORS))
        if follow:
            self._rolls[name].learn(fit)
        return fit

    def _regions(self, excess: Mapping[str, Floats], size_hw_px: tuple[int, ...]) -> Regions:
        if self._levels is None:
            return no_regions()
        ratios = {name: values / np.float32(self._levels[name]) for name, values in excess.items()}
        return find_regions(ratios, self._trunk.stride_px, (size_hw_px[0], size_hw_px[1]))


def block_maxima(excess: Mapping[str, Floats], is_judged: Mask) -> dict[str, Floats]:
    """Return the largest values in blocks of the width; those that show too little cloth are left out.

    Where all do, the image is one block.
    """
    starts = np.arange(0, is_judged.shape[1], BLOCK_PX // STRIDE_PX)
    covered = np.add.reduceat(is_judged.sum(axis=0), starts)
    counts = covered >= LEAST_SHOWN * covered.max()
    return {
        name: np.asarray(np.maximum.reduceat(values.max(axis=0), starts)[counts], np.float32)
        for name, values in excess.items()
    }


def _why_not(features: Features, is_cloth: Mask | None) -> NotJudged:
    if is_cloth is not None and not is_cloth.any():
        return "no cloth"
    if features.brightness < DARKEST_GREY:
        return "black"
    if features.brightness > BRIGHTEST_GREY:
        return "saturated"
    return "blank"
