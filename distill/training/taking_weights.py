"""Take the weights of another run's checkpoint, or of another project's, into a new run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distill.checkpoint import load_detector
from distill.detector.build import build_module
from distill.detector.official_weights import matched, put, take_official_weights
from distill.detector.pickled_model import holds_objects
from distill.settings.structure import DetectorStructure
from distill.training.training_run import TrainingRun
from edge.core.errors import CheckpointError


def take_weights(run: TrainingRun, path: Path) -> None:
    """Start from the weights of another run's checkpoint; everything else starts from scratch.

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
