"""Serve the validation split of a data set to networks on any runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill.data.dataset import load_dataset
from distill.data.tiles import TilePlan
from distill.evaluation.evaluate import Floats, Metrics, Run, compared_with_ground_truth, metrics_of
from edge.core.contract import ModelContract
from edge.core.errors import ConfigError, DatasetError
from edge.core.taxonomy import Taxonomy, load_taxonomy
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


def load_validation(
    folder: Path, contract: ModelContract, taxonomy: Taxonomy | None = None
) -> ValidationTiles:
    """Read the val split of a data set folder.

    Args:
        taxonomy: with the classes of the model, and the kinds that the data set may name; None for the
            shipped one, or for the classes alone if the model has others.
    Raises:
        ConfigError: if the taxonomy has other classes.
        DatasetError: if it is missing or damaged, or no image of it shows a defect.
    """
    data = load_dataset(folder, _taxonomy_of(contract, taxonomy))
    plan = TilePlan(data.val, contract, data.mm_per_px, CACHE_MB)
    if all(tile.is_empty for tile in plan.tiles):
        raise DatasetError(
            f"No image of the val split of {folder} shows a defect.",
            "Name a data set whose val split has some: how good a model is cannot be said otherwise.",
        )
    return ValidationTiles(plan, contract, data.mm_per_px)


def _taxonomy_of(contract: ModelContract, named: Taxonomy | None) -> Taxonomy:
    if named is not None and named.classes != contract.class_names:
        raise ConfigError(
            f"The model knows the classes {', '.join(contract.class_names)}; the taxonomy has "
            f"{', '.join(named.classes)}.",
            "Name the taxonomy it was trained with by --taxonomy.",
        )
    taxonomy = named or load_taxonomy()
    if taxonomy.classes == contract.class_names:
        return taxonomy
    return Taxonomy(version=1, classes=contract.class_names)
