"""Define the table `[stop]`: settings of the stop policy."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

StopMode = Literal["shadow", "on", "off"]


class StopRule(BaseModel):
    """Say when a class stops the machine: the table `[stop.classes.NAME]`.

    Attributes:
        least_score: detections that score less do not count.
        least_mm: nor do those of a defect whose longer side is shorter.
        least_points: nor those of a defect with fewer points (ASTM D5430).
        times, within_m: so many detections that begin within so many metres confirm each other.
        running_mm: a defect that runs along the cloth for so long is confirmed by itself; None: never.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    least_score: float = Field(default=0.5, ge=0, le=1)
    least_mm: float = Field(default=0.0, ge=0)
    least_points: int = Field(default=1, ge=1, le=4)
    times: int = Field(default=3, ge=1, le=100)
    within_m: float = Field(default=0.5, gt=0, le=100)
    running_mm: float | None = Field(default=300.0, gt=0)


class StopSettings(BaseModel):
    """Hold the stop policy.

    Attributes:
        mode: `shadow` decides and records, and leaves the machine alone; `on` stops it; `off` does
            nothing.
        classes: which classes may stop the machine, and when. Empty: each class of the model by the default
            rule, which is for `shadow` only.
        most_per_hour: stops within any hour.
        apart_m: least distance from one stop to the next.
        after_start_m: what lies nearer to the place where the run began stops nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mode: StopMode = "shadow"
    classes: dict[str, StopRule] = {}
    most_per_hour: int = Field(default=6, ge=1, le=3600)
    apart_m: float = Field(default=1.0, ge=0, le=10_000)
    after_start_m: float = Field(default=1.0, ge=0, le=10_000)
