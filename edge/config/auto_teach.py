"""Define the table `[auto_teach]`: settings of teaching on the device."""

from __future__ import annotations

from math import ceil
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from edge.config.alarm_budget import LEAST_ALLOWED, MOST_ALARMS, Budget, ClothAmount
from edge.core.settings import OwnPath

JUDGED_RATIO: Final = 0.9
"""Of the cloth that is read, at least: the rest may be blank, or left out."""


class AutoTeachSettings(BaseModel):
    """Say whether, and how, a run learns an article that nobody taught.

    Attributes:
        folder: where the article files are published, one folder each; None: nothing is learnt.
        start: `auto` learns an article that nobody taught from the first metres of its roll; `asked` only
            what somebody asks for on the page.
        metres: clean cloth to read.
        false_alarms_per_100m: the promise: at most so many.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    folder: OwnPath | None = None
    start: Literal["auto", "asked"] = "auto"
    metres: float = Field(default=30.0, gt=0, le=10_000)
    false_alarms_per_100m: float = Field(default=3.0, gt=0, le=MOST_ALARMS)

    @model_validator(mode="after")
    def _is_carried(self) -> Self:
        """Refuse a promise that so many metres cannot support."""
        cloth = ClothAmount(0, JUDGED_RATIO * self.metres)
        if self.budget.allowed_on(cloth) < LEAST_ALLOWED:
            needed_m = LEAST_ALLOWED * 100 / self.false_alarms_per_100m / JUDGED_RATIO
            raise ValueError(
                f"{self.metres:g} m, a tenth of which may show nothing to judge, support "
                f"{self.budget.least_text(cloth)}; {self.budget.text()} needs {ceil(needed_m)} m"
            )
        return self

    @property
    def budget(self) -> Budget:
        """The promise."""
        return Budget(self.false_alarms_per_100m, "100 m")
