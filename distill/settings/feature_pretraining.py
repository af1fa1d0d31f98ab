"""Define the table `[feature_pretraining]` of a recipe: what a backbone learns before it learns boxes."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from distill.core.value import FiniteValue
from distill.settings.simulation import filled_up
from edge.core.settings import OwnPath
from edge.dataset.options import DatasetOptions

TrunkName = Literal["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"]
LevelWeight = Annotated[float, Field(ge=0, allow_inf_nan=False)]

DEFAULT_SIMULATION: Final = DatasetOptions(
    images=2000, size_hw=(256, 256), defects_per_m=25.0, split={"train": 0.95, "val": 0.05}
)


class FeaturePretraining(FiniteValue):
    """Say which features a backbone learns to give before it learns to detect, and from which images.

    Attributes:
        trunk: frozen network with ImageNet weights that gives the features.
        simulation: simulated cloth to weave, always at the scale of the data set, whatever stands there;
            None weaves `DEFAULT_SIMULATION` if there are no folders, and what a recipe leaves out is of it.
        folders: of images of any cloth at the scale of the data set, which need no labels.
        epochs, learning_rate, time_limit_min: of this training.
        patience_epochs: stop after so many epochs without a lower loss on held-out images.
        level_weights: of the loss at strides 8, 16 and 32.
    """

    trunk: TrunkName = "efficientnet-lite0"
    simulation: DatasetOptions | None = None
    folders: tuple[OwnPath, ...] = ()
    epochs: int = Field(default=20, ge=1, le=100_000)
    learning_rate: float = Field(default=2e-3, gt=0, le=1)
    patience_epochs: int = Field(default=5, ge=1)
    time_limit_min: float | None = Field(default=None, gt=0)
    level_weights: tuple[LevelWeight, LevelWeight, LevelWeight] = (1.0, 1.0, 1.0)

    @field_validator("simulation", mode="before")
    @classmethod
    def _fill_up(cls, given: object) -> object:
        return filled_up(given, DEFAULT_SIMULATION)

    @model_validator(mode="after")
    def _learns_something(self) -> Self:
        if not any(self.level_weights):
            raise ValueError("no level has a weight above 0")
        return self

    @property
    def woven(self) -> DatasetOptions | None:
        """The simulated cloth that is asked for; None for images of folders alone."""
        return self.simulation or (None if self.folders else DEFAULT_SIMULATION)
