"""Follow the roll: combine what was taught, the last metres and the image itself into the reference."""

from __future__ import annotations

from dataclasses import dataclass

from edge.reference.contrast import Floats
from edge.reference.statistics import Moments, UsualVectors, Whitening, divergence, usual

ROLL_WEIGHT = 0.25
"""Of the roll so far, beside the image's own features: the rest is the image itself."""

LEARNT_RATIO = 0.05
"""An image's weight in the roll; after twenty of them two thirds of what was taught have faded."""

PASSES = 2
"""Fits of an image, each without the outliers of the one before."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageFit:
    """Hold the reference of one image.

    Attributes:
        own: moments of the image's features without outliers, with the weight of one vector.
        whitening: of image and roll together.
        taught: moments of the article's clean cloth.
    """

    own: Moments
    whitening: Whitening
    taught: Moments

    @property
    def distance(self) -> float:
        """Of the image's own features to what was taught."""
        return divergence(self.own, self.taught)


class RollReference:
    """Give each image its reference, and follow the roll.

    A defect that runs for metres is not learnt: features that are outliers by the roll so far stay out of
    an image's fit, however many there are.

    Args:
        taught: vectors of the article's clean cloth.
    """

    def __init__(self, taught: UsualVectors) -> None:
        self._taught = taught.moments.as_one()
        self._most = taught.most
        self._roll = self._taught

    def restart(self) -> None:
        """Forget the roll: start again from what was taught."""
        self._roll = self._taught

    def fit(self, vectors: Floats) -> ImageFit:
        """Fit an image.

        Args:
            vectors: (C, N), those of its cells that are judged, or an even sample.
        """
        whitening = Whitening.of(self._roll)
        for _ in range(PASSES):
            kept = vectors[:, usual(whitening.distances(vectors), self._most)]
            own = Moments.of(kept).as_one()
            mixed = own.weighted(1 - ROLL_WEIGHT) + self._roll.weighted(ROLL_WEIGHT)
            whitening = Whitening.of(mixed)
        return ImageFit(own, whitening, self._taught)

    def learn(self, fit: ImageFit) -> None:
        """Take an image into the roll."""
        self._roll = self._roll.weighted(1 - LEARNT_RATIO) + fit.own.weighted(LEARNT_RATIO)
