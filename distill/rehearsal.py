"""Simulated cloth along with real cloth: the table `[rehearsal]` of a recipe.

A few dozen labelled pictures make a detector forget what it knew of cloth they do not show. Seen among
pictures of simulated cloth they add to it instead: docs/benchmarks/strips.md.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from distill.dataset import Dataset
from distill.pretraining import simulated_dataset
from edge.core.taxonomy import Taxonomy
from edge.dataset.options import DatasetOptions

UNKNOWN_SCALE_MM_PER_PX: Final = 0.2
"""Simulated cloth is woven at this scale where nobody said that of the data set."""


class Rehearsal(BaseModel):
    """Say what simulated cloth a detector sees along with the data set.

    Attributes:
        simulation: what `loomsight simulate` would be asked for; at the scale of the data set, whatever
            stands there.
        repeats: times that an epoch shows each picture of the data set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    simulation: DatasetOptions = DatasetOptions(
        images=600, size_hw=(256, 256), defects_per_m=25.0, split={"train": 0.99, "val": 0.01}
    )
    repeats: int = Field(default=2, ge=1, le=1000)


def rehearsed(
    dataset: Dataset, rehearsal: Rehearsal, mm_per_px: float | None, folder: Path, taxonomy: Taxonomy
) -> Dataset:
    """Add simulated cloth to the pictures to learn from; those to validate on stay the data set's own.

    Args:
        mm_per_px: of the data set; None if nobody knows.
        folder: of the simulated data set; it is woven where it is not there yet.
    Raises:
        OutputError, DatasetError: as `simulated_dataset`.
    """
    scale = {"mm_per_px": mm_per_px or UNKNOWN_SCALE_MM_PER_PX}
    woven = simulated_dataset(rehearsal.simulation.model_copy(update=scale), folder, taxonomy)
    return replace(dataset, train=dataset.train * rehearsal.repeats + woven.train)
