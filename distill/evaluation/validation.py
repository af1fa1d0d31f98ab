"""Serve the validation split of a data set to networks on any runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill.data.dataset import load_dataset
from distill.data.tiles import TilePlan
from distill.evaluation.evaluate import Floats, Metrics, Run, compared_with_ground_truth, metrics_of
from edge.core.contract import ModelContract
from edge.core.errors import DatasetError
from edge.inference.preprocess import Preprocessor

CACHE_MB = 1024


@dataclass(frozen=True, slots=True)
class ValidationTiles:
    """Tiles with their ground truth, as the edge would cut them.

    Attributes:
        plan: of the images of the split.
        contract: of the model.
        mm_per_px: of the images; None if not known.
    """

    plan: TilePlan
    contract: ModelContract
    mm_per_px: float | None = None

    def metrics(self, run: Run) -> Metrics:
        """Score a network on every tile.

        Raises:
            TrainingError: if it gives anything but finite numbers.
        """
        compared = compared_with_ground_truth(
            lambda images: run(np.ascontiguousarray(images)), self.plan, self.contract, batch=16
        )
        return metrics_of(compared, self.contract.class_names)

    def tiles(self, most: int) -> Floats:
        """Return up to so many tiles, those with defects first: (N, channels, H, W) float32."""
        chosen = sorted(self.plan.tiles, key=lambda tile: tile.is_empty)[:most]
        preprocessor = Preprocessor(self.contract)
        return np.stack(
            [
                preprocessor.batch(self.plan.image(tile.image_index), [tile.view])[0].copy()
                for tile in chosen
            ]
        )


def load_validation(folder: Path, contract: ModelContract) -> ValidationTiles:
    """Read the val split of a data set folder.

    Raises:
        DatasetError: if it is missing or damaged, or no image of it shows a defect.
    """
    data = load_dataset(folder, contract.class_names)
    plan = TilePlan(data.val, contract, data.mm_per_px, CACHE_MB)
    if all(tile.is_empty for tile in plan.tiles):
        raise DatasetError(
            f"No image of the val split of {folder} shows a defect.",
            "Name a data set whose val split has some: how good a model is cannot be said otherwise.",
        )
    return ValidationTiles(plan, contract, data.mm_per_px)
