"""Read where a training starts: the structure and the weights of another run's checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from distill.checkpoint import Detector, load_detector, read_checkpoint
from distill.detector.choice import structure_of
from distill.detector.pickled_model import holds_objects
from distill.settings.recipe import Recipe
from distill.settings.shipped import SHIPPED_CHECKPOINT
from distill.settings.structure import DetectorStructure
from edge.bundle.opening import demo_bundle_path, open_bundle
from edge.core.contract import ModelContract
from edge.inference.model import contract_of


def shipped_thresholds(path: Path) -> dict[str, float] | None:
    """Return the score thresholds that the shipped bundle has; None for any other checkpoint than its own.

    They were chosen when the bundle was exported: those in the checkpoint are of its last training.

    Raises:
        BundleError: if the shipped bundle is damaged.
    """
    if path.resolve() != SHIPPED_CHECKPOINT.resolve():
        return None
    return dict(contract_of(open_bundle(demo_bundle_path())).score_thresholds)


def load_named(path: Path) -> Detector:
    """Load a detector; the shipped one with the score thresholds that the shipped bundle has.

    Raises:
        CheckpointError: if it cannot be read.
        BundleError: if the shipped bundle is damaged.
    """
    detector, thresholds = load_detector(path), shipped_thresholds(path)
    if thresholds is None:
        return detector
    contract = detector.contract.with_thresholds(thresholds)
    return replace(detector, contract=contract, checkpoint=replace(detector.checkpoint, contract=contract))


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
