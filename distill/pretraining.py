"""Simulated cloth before real cloth: the table `[pretraining]` of a recipe, and its data set."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from distill.dataset import Dataset, load_dataset
from edge.simulator.dataset import write_dataset
from edge.simulator.dataset_options import DatasetOptions
from edge.taxonomy import Taxonomy

logger = logging.getLogger(__name__)


class Pretraining(BaseModel):
    """Say what simulated cloth a detector is trained on before the data set.

    Attributes:
        simulation: what `loomsight simulate` would be asked for.
        epochs, learning_rate, time_limit_min: of that training; None takes the recipe's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    simulation: DatasetOptions = DatasetOptions()
    epochs: int | None = Field(default=None, ge=1, le=100_000)
    learning_rate: float | None = Field(default=None, gt=0, le=1)
    time_limit_min: float | None = Field(default=None, gt=0)


def simulated_dataset(pretraining: Pretraining, folder: Path, taxonomy: Taxonomy) -> Dataset:
    """Return the simulated data set; it is woven where it is not there yet.

    Args:
        folder: of the data set; a new one appears whole or not at all.
    Raises:
        OutputError: if it cannot be written.
        DatasetError: if what stands there is none.
    """
    if not folder.is_dir():
        options = pretraining.simulation
        logger.info("weaving %d pictures of simulated cloth in %s", options.images, folder)
        write_dataset(folder, options, taxonomy)
    return load_dataset(folder, taxonomy.classes)
