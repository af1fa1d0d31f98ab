"""Where a training begins: the structure and the weights of another run's checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.checkpoint import load_detector, read_checkpoint
from distill.detector.build import build_module
from distill.detector.choice import structure_of
from distill.detector.official_weights import matched, put, take_official_weights
from distill.detector.pickled_model import holds_objects
from distill.settings.recipe import Recipe
from distill.settings.structure import DetectorStructure
from edge.bundle.opening import demo_bundle_path, open_bundle
from edge.core.contract import ModelContract
from edge.core.errors import CheckpointError
from edge.inference.model import contract_of

if TYPE_CHECKING:
    from distill.training.training_run import TrainingRun


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


def take_weights(run: TrainingRun, path: Path) -> None:
    """Start from the weights of another run's checkpoint; everything else starts afresh.

    Of a checkpoint with other classes or colours, and of a pickled model of YOLOv5's makers or ultralytics,
    what fits is taken. Which file that was stands in `start_from.json` of the run folder.

    Raises:
        CheckpointError: if it cannot be read or is of another structure.
        OutputError: if the record cannot be written.
    """
    if holds_objects(path):
        taken = take_official_weights(run.module, path, run.contract.colour_order)
    else:
        taken = _take_checkpoint(run, path)
    run.average.ema.load_state_dict(run.module.state_dict())
    if run.processes.is_first:
        run.folder.write_json(run.folder.start_from, taken)


def _take_checkpoint(run: TrainingRun, path: Path) -> dict[str, Any]:
    detector = load_detector(path)
    theirs, ours = detector.checkpoint.structure, run.structure
    if not _is_same_network(theirs, ours):
        raise CheckpointError(
            f"{path} is of another structure than this recipe asks for.",
            f"Start from a checkpoint of scale {ours.scale} with the same head, or set scale = "
            f'"{theirs.scale}" in the recipe.',
        )
    record = {"checkpoint": str(path), "sha256": detector.file_digest}
    weights = detector.module.state_dict()
    named_alike = detector.contract.class_names == run.contract.class_names
    if theirs == ours and named_alike:
        run.module.load_state_dict(weights)
        return record
    if not named_alike:
        for name in per_class_tensors(ours):
            weights.pop(name, None)
    fitting, transfer = matched(run.module.state_dict(), weights, run.contract.colour_order)
    return {**record, **put(fitting, transfer, run.module, path)}


def _is_same_network(theirs: DetectorStructure, ours: DetectorStructure) -> bool:
    """Whether all but what goes in and which classes come out is the same."""
    return theirs.model_copy(update={"channels": ours.channels, "classes": ours.classes}) == ours


def per_class_tensors(structure: DetectorStructure) -> frozenset[str]:
    """Name the tensors that have a part for each class: theirs mean nothing to other classes."""
    one_more = structure.model_copy(update={"classes": structure.classes + 1})
    shapes, others = (
        {name: tensor.shape for name, tensor in build_module(each).state_dict().items()}
        for each in (structure, one_more)
    )
    return frozenset(name for name, shape in shapes.items() if shape != others[name])
