"""Define the small tables of a recipe, `[augmentation]` to `[sparsity]`."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, field_validator

from distill.core.value import FiniteValue, Fraction
from distill.settings.simulation import filled_up
from edge.dataset.options import DatasetOptions

SHIPPED_CLOTH: Final = DatasetOptions(
    images=600, size_hw=(256, 256), look="both", defects_per_m=25.0, split={"train": 0.99, "val": 0.01}
)
"""Cloth as the shipped detector knows it."""


class Augmentation(FiniteValue):
    """Say how far a training tile may be changed, before it is enhanced.

    Attributes:
        flip_share: chance of a flip, along each axis on its own.
        quarter_turn_share: chance of a turn by 90 degrees; needs a square input.
        shift_share: greatest shift of a tile, as a fraction of its side.
        zoom_share: greatest change of scale, in both directions.
        brightness_share, contrast_share, gamma_share: greatest change, in both directions.
        noise_grey: greatest standard deviation of added noise, in grey values.
        blur_share: chance of a light blur (Gaussian, sigma up to 1 px).
    """

    flip_share: Fraction = 0.5
    quarter_turn_share: Fraction = 0.0
    shift_share: Fraction = 0.4
    zoom_share: Annotated[float, Field(ge=0, le=0.8)] = 0.15
    brightness_share: Annotated[float, Field(ge=0, lt=1)] = 0.2
    contrast_share: Annotated[float, Field(ge=0, lt=1)] = 0.2
    gamma_share: Annotated[float, Field(ge=0, lt=1)] = 0.2
    noise_grey: Annotated[float, Field(ge=0, le=64)] = 3.0
    blur_share: Fraction = 0.1


class FakeQuantisation(FiniteValue):
    """Say how a detector is trained on for INT8.

    Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference, CVPR 2018: weights and activations are rounded in the forward pass as they will be, gradients
    pass as if they were not.

    Attributes:
        range_share: of a batch in the range of each activation, which is a moving average of the batches'
            greatest values.
    """

    range_share: float = Field(default=0.05, gt=0, le=1)


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


class Pretraining(FiniteValue):
    """Say what simulated cloth a detector is trained on before the data set.

    Attributes:
        simulation: what `loomsight simulate` would be asked for.
        epochs, learning_rate, time_limit_min: of that training; None takes the recipe's.
    """

    simulation: DatasetOptions = DatasetOptions()
    epochs: int | None = Field(default=None, ge=1, le=100_000)
    learning_rate: float | None = Field(default=None, gt=0, le=1)
    time_limit_min: float | None = Field(default=None, gt=0)


class Rehearsal(FiniteValue):
    """Say what simulated cloth a detector sees along with the data set.

    Attributes:
        simulation: what `loomsight simulate` would be asked for; at the scale of the data set, whatever
            stands there. What a recipe leaves out is that of `SHIPPED_CLOTH`.
        repeats: times that an epoch shows each image of the data set.
    """

    simulation: DatasetOptions = SHIPPED_CLOTH
    repeats: int = Field(default=2, ge=1, le=1000)

    @field_validator("simulation", mode="before")
    @classmethod
    def _fill_up(cls, given: object) -> object:
        return filled_up(given, SHIPPED_CLOTH)


class Sparsity(FiniteValue):
    """Say how strongly the scales of batch normalisation are drawn towards 0.

    Liu et al., Learning Efficient Convolutional Networks through Network Slimming, ICCV 2017: an L1 penalty
    on the scales of batch normalisation drives those of channels that matter little towards 0.

    Attributes:
        strength: added to the gradient of each scale, with its sign, in the first epoch.
        final_share: what is left of it at the end; it falls in a line.
    """

    strength: float = Field(default=1e-3, gt=0, le=1)
    final_share: float = Field(default=0.1, ge=0, le=1)

    def strength_at(self, epoch: int, epochs: int) -> float:
        """Return the strength in an epoch, counted from 0: s (1 - 0.9 epoch / epochs) by default."""
        return self.strength * (1 - (1 - self.final_share) * epoch / epochs)
