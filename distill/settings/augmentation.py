"""Define the table `[augmentation]` of a recipe: how far training tiles may be changed."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from distill.core.value import FiniteValue, Fraction


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
