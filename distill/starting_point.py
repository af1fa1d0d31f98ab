"""Where a training begins: the structure and the weights of another run's checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.checkpoint import load_detector, read_checkpoint
from distill.detector.choice import structure_of
from distill.detector.official_weights import take_official_weights
from distill.detector.pickled_model import holds_objects
from distill.detector.structure import DetectorStructure
from distill.recipe import Recipe
from edge.contract import ModelContract
from edge.errors import CheckpointError

if TYPE_CHECKING:
    from distill.training_run import TrainingRun


def structure_to_train(
    recipe: Recipe, contract: ModelContract, begins_with: Path | None
) -> DetectorStructure:
    """Return the recipe's structure, or the pruned version of it that a checkpoint has.

    A checkpoint of another structure changes nothing here: its weights will be refused.

    Raises:
        ConfigError: as `structure_of`.
        CheckpointError: if the checkpoint cannot be read.
    """
    asked = structure_of(recipe, contract)
    if begins_with is None or holds_objects(begins_with):
        return asked
    theirs = read_checkpoint(begins_with).structure
    return theirs if theirs.model_copy(update={"widths": None}) == asked else asked


def take_weights(run: TrainingRun, path: Path) -> None:
    """Start from the weights of another run's checkpoint; everything else starts afresh.

    Of a pickled model of YOLOv5's makers or ultralytics what fits is taken. Which file that was stands in
    `start_from.json` of the run folder.

    Raises:
        CheckpointError: if it cannot be read or is of another structure.
        OutputError: if the record cannot be written.
    """
    if holds_objects(path):
        taken = take_official_weights(run.module, path, run.contract.colour_order)
        run.average.ema.load_state_dict(run.module.state_dict())
        _record(run, taken)
        return
    detector = load_detector(path)
    if detector.checkpoint.structure != run.structure:
        raise CheckpointError(
            f"{path} is of another structure than this recipe asks for.",
            f"Start from a checkpoint of scale {run.recipe.scale} with the same channels and classes.",
        )
    run.module.load_state_dict(detector.module.state_dict())
    run.average.ema.load_state_dict(detector.module.state_dict())
    _record(run, {"checkpoint": str(path), "sha256": detector.file_digest})


def _record(run: TrainingRun, what: Mapping[str, Any]) -> None:
    if run.processes.is_first:
        run.folder.write_json(run.folder.start_from, what)
