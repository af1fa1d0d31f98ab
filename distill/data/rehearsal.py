"""Add simulated cloth to the images that a detector learns from.

A few dozen labelled images make a detector forget what it knew of cloth they do not show. Seen among
images of simulated cloth they add to it instead: docs/benchmarks/strips.md.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from distill.data.dataset import Dataset
from distill.data.pretraining import simulated_dataset
from distill.settings.rehearsal import Rehearsal
from edge.core.taxonomy import Taxonomy

UNKNOWN_SCALE_MM_PER_PX: Final = 0.2
"""Simulated cloth is woven at this scale where nobody said that of the data set."""


def rehearsed(
    dataset: Dataset, rehearsal: Rehearsal, mm_per_px: float | None, folder: Path, taxonomy: Taxonomy
) -> Dataset:
    """Add simulated cloth to the images to learn from; those to validate on stay the data set's own.

    Args:
        mm_per_px: of the data set; None if nobody knows.
        folder: of the simulated data set; it is woven where it is not there yet.
    Raises:
        OutputError, DatasetError: as `simulated_dataset`.
    """
    scale = {"mm_per_px": mm_per_px or UNKNOWN_SCALE_MM_PER_PX}
    woven = simulated_dataset(rehearsal.simulation.model_copy(update=scale), folder, taxonomy)
    return replace(dataset, train=dataset.train * rehearsal.repeats + woven.train)
