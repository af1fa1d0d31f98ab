"""Define the table `[pretraining]` of a recipe: simulated cloth before real cloth."""

from __future__ import annotations

from pydantic import Field

from distill.core.value import FiniteValue
from edge.dataset.options import DatasetOptions


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
