"""Read and write checkpoints: structure, weights and contract in one file that runs no code when read.

A checkpoint is `torch.save` of a dict of tensors and primitives, read with `weights_only=True`:

    format, format_version   what this is
    structure                JSON of `DetectorStructure`; the module is built again from it
    weights                  state dict, float32 (the moving average, where there is one)
    contract                 JSON of `ModelContract`
    recipe, metrics          JSON, for people
    training                 in `last.pt` only: all that is needed to go on

`export` enters this package here, and only here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distill.core import run_page
from distill.core.run_folder import PAGE_NAME
from distill.core.tensor_file import UNREADABLE, bytes_of, first_line, read_tensors, write_tensors
from distill.data.dataset import Dataset, LabelledImage, load_dataset
from distill.detector.build import build_module, count_macs, infer
from distill.detector.head import head_of
from distill.detector.ported import BATCH_AXIS, traced_onnx
from distill.detector.trunk import folded, trunk_weights
from distill.evaluation.report import inspected
from distill.evaluation.scorecard import (
    EXPORT,
    SCORECARD_NAME,
    Latency,
    ScorecardRow,
    ancestry_of,
    append_row,
    measure_latency,
    read_rows,
)
from distill.evaluation.validation import ValidationTiles, load_validation
from distill.settings.structure import DetectorStructure
from edge.core.contract import ModelContract, contract_from_json
from edge.core.errors import CheckpointError, ContractError
from edge.core.files import file_digest

__all__ = [
    "BATCH_AXIS", "EXPORT", "PAGE_NAME", "SCORECARD_NAME", "Checkpoint", "Dataset", "Detector",
    "LabelledImage", "Latency", "ScorecardRow", "ValidationTiles", "ancestry_of", "append_row",
    "count_macs", "folded", "head_of", "infer", "inspected", "load_dataset", "load_detector",
    "load_validation", "measure_latency", "read_checkpoint", "read_rows", "run_page", "traced_onnx",
    "trunk_weights", "weights_digest", "write_checkpoint",
]  # fmt: skip

FORMAT = "loomsight-checkpoint"
FORMAT_VERSION = 1

HELD_OUT_LOSS = "held_out_loss"
"""In the metrics of a checkpoint whose backbone has learnt features: mAP has no meaning for it."""

_UNBUILDABLE = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Hold what a checkpoint file holds.

    Attributes:
        recipe: resolved, as primitives.
        metrics: as primitives.
        training: tensors and primitives from which training goes on; None in a finished model.
    """

    structure: DetectorStructure
    weights: Mapping[str, Tensor]
    contract: ModelContract
    recipe: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] | None = None

    @property
    def knows_features_alone(self) -> bool:
        """Whether its backbone has learnt features and nothing has learnt to detect."""
        return HELD_OUT_LOSS in self.metrics


@dataclass(frozen=True, slots=True)
class Detector:
    """Hold a detector that is ready to run.

    Attributes:
        module: in eval mode, on the processor; run it with `infer`.
        contract: what it needs and says.
        checkpoint: all else that the file says.
        file_digest: sha256 of the checkpoint file.
    """

    module: nn.Module
    contract: ModelContract
    checkpoint: Checkpoint
    file_digest: str


def load_detector(path: Path) -> Detector:
    """Build the detector of a checkpoint.

    Raises:
        CheckpointError: if the file is missing, damaged or not a checkpoint, if its weights do not fit its
            structure, or are not all finite.
    """
    checkpoint = read_checkpoint(path)
    _check_finite(checkpoint.weights, path)
    try:
        module = build_module(checkpoint.structure)
        module.load_state_dict(dict(checkpoint.weights), strict=True)
    except _UNBUILDABLE as error:
        raise CheckpointError(
            f"The weights in {path} do not fit its structure: {first_line(error)}.",
            "Train again, or use the version of loomsight that wrote it.",
        ) from error
    module.eval().requires_grad_(False)
    return Detector(module, checkpoint.contract, checkpoint, file_digest(path))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint without building its module.

    Raises:
        CheckpointError: if the file is missing, damaged or not a checkpoint.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint at {path}.", "Name a best.pt made by `distill`.")
    try:
        content = read_tensors(path)
    except UNREADABLE as error:
        raise CheckpointError(
            f"{path} is damaged or is not a loomsight checkpoint ({first_line(error)}).",
            "Copy it again, or train again; pickled models are never loaded.",
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a loomsight checkpoint.", "Name a best.pt made by `distill`.")
    if content.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} is of format {content.get('format_version')}; this loomsight reads {FORMAT_VERSION}.",
            "Update loomsight.",
        )
    return _from_content(content, path)


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint under a temporary name, flush it to disk, then rename it.

    The contract it gets names the digest of these weights, which `read_checkpoint` compares.

    Raises:
        CheckpointError: if a weight is not finite; what stood at `path` stays.
        OutputError: if it cannot be written.
    """
    _check_finite(checkpoint.weights, path)
    contract = checkpoint.contract.model_copy(update={"source_digest": weights_digest(checkpoint.weights)})
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "structure": checkpoint.structure.model_dump_json(),
        "weights": {name: tensor.detach().cpu() for name, tensor in checkpoint.weights.items()},
        "contract": contract.model_dump_json(),
        "recipe": json.dumps(checkpoint.recipe),
        "metrics": json.dumps(checkpoint.metrics),
        "training": dict(checkpoint.training) if checkpoint.training is not None else None,
    }
    write_tensors(path, content)


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """Return a sha256 of weights: over name, type, shape and bytes of each tensor, sorted by name.

    It stands as `source_digest` in a checkpoint's contract, which cannot hold the digest of its own file;
    `export` puts the sha256 of the checkpoint file in its place.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _from_content(content: Mapping[str, Any], path: Path) -> Checkpoint:
    try:
        structure = DetectorStructure.model_validate_json(content["structure"])
        contract = contract_from_json(content["contract"], str(path))
        weights, training = content["weights"], content["training"]
        recipe, metrics = json.loads(content["recipe"]), json.loads(content["metrics"])
    except (KeyError, TypeError, ValueError, RecursionError, ContractError) as error:
        raise CheckpointError(
            f"{path} is not a complete checkpoint: {first_line(error)}.",
            "Train again, or use the version of loomsight that wrote it.",
        ) from error
    fits = structure.channels == contract.channels and structure.classes == len(contract.class_names)
    are_tensors = isinstance(weights, dict) and all(isinstance(v, Tensor) for v in weights.values())
    if not fits or not are_tensors:
        raise CheckpointError(f"{path}: structure, weights and contract disagree.", "Train again.")
    if bytes_of(weights.values()) > path.stat().st_size:
        raise CheckpointError(
            f"{path} claims more weights than it holds.", "Copy it again, or train again."
        )
    if weights_digest(weights) != contract.source_digest:
        raise CheckpointError(
            f"{path} is damaged: its weights are not those that were written (their digest differs).",
            "Copy it again, or train again.",
        )
    return Checkpoint(structure, weights, contract, recipe, metrics, training)


def _check_finite(weights: Mapping[str, Tensor], path: Path) -> None:
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"{path}: the weights '{name}' are not all finite numbers.",
                "Use an earlier checkpoint, or train again with a lower learning_rate.",
            )
