"""Read where a training starts: the structure and the weights of another run's checkpoint."""

from __future__ import annotations

from pathlib import Path

from distill.checkpoint import read_checkpoint
from distill.detector.choice import structure_of
from distill.detector.pickled_model import holds_objects
from distill.settings.recipe import Recipe
from distill.settings.structure import DetectorStructure
from edge.bundle.opening import demo_bundle_path, open_bundle
from edge.core.contract import ModelContract
from edge.inference.model import contract_of

SHIPPED_CHECKPOINT = Path(__file__).parents[1] / "weights" / "any-cloth.pt"
"""The detector of the shipped bundle, as `distill` wrote it; weights of more than one axis are float16."""

SHIPPED = "shipped"
"""Names the detector that ships with the package where a checkpoint is asked for."""


def checkpoint_named(name: str) -> Path:
    """Return the path that a user means: of the shipped detector, or the one that was named."""
    return SHIPPED_CHECKPOINT if name == SHIPPED else Path(name)


def shipped_thresholds(path: Path) -> dict[str, float] | None:
    """Return the score thresholds that the shipped bundle has; None for any other checkpoint than its own.

    They were chosen when the bundle was exported: those in the checkpoint are of its last training.

    Raises:
        BundleError: if the shipped bundle is damaged.
    """
    if path.resolve() != SHIPPED_CHECKPOINT.resolve():
        return None
    return dict(contract_of(open_bundle(demo_bundle_path())).score_thresholds)


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
