"""Define the table `[rehearsal]` of a recipe: simulated cloth along with real cloth."""

from __future__ import annotations

from pydantic import Field

from distill.core.value import FiniteValue
from edge.dataset.options import DatasetOptions


class Rehearsal(FiniteValue):
    """Say what simulated cloth a detector sees along with the data set.

    Attributes:
        simulation: what `loomsight simulate` would be asked for; at the scale of the data set, whatever
            stands there.
        repeats: times that an epoch shows each image of the data set.
    """

    simulation: DatasetOptions = DatasetOptions(
        images=600, size_hw=(256, 256), defects_per_m=25.0, split={"train": 0.99, "val": 0.01}
    )
    repeats: int = Field(default=2, ge=1, le=1000)
