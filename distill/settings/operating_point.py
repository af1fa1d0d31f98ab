"""Define the table `[operating_point]` of a recipe."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class OperatingPoint(BaseModel):
    """Say how score thresholds are chosen at the end of a training.

    Attributes:
        folds: train on all but one part of the images, as often as this, so that thresholds, and the
            comparison with the detector that training started from, come from images that were not trained
            on; 0 takes the val split alone.
        false_positives_per_image: budget, over all images; where training starts from a detector, as many
            as that one has on the same images are permitted, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    folds: int = Field(default=0, ge=0, le=20)
    false_positives_per_image: float = Field(default=0.0, ge=0, le=100)
