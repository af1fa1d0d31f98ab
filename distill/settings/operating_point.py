"""Define the table `[operating_point]` of a recipe."""

from __future__ import annotations

from pydantic import Field

from distill.core.value import FiniteValue


class OperatingPoint(FiniteValue):
    """Say how score thresholds are chosen at the end of a training.

    Attributes:
        folds: train on all but one part of the images, as often as this, so that thresholds, and the
            comparison with the detector that training started from, come from images that were not trained
            on; 0 takes the val split alone.
        false_positives_per_image: budget, over all images; where training starts from a detector, as many
            as that one has on the same images are permitted, too.
    """

    folds: int = Field(default=0, ge=0, le=20)
    false_positives_per_image: float = Field(default=0.0, ge=0, le=100)
