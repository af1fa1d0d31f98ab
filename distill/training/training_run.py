"""Hold a training run in memory, write it to `last.pt` and read it back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from distill.checkpoint import (
    Checkpoint,
    Detector,
    read_checkpoint,
    write_checkpoint,
)
from distill.core.precision import choose_precision
from distill.core.processes import ALONE, Processes
from distill.core.run_folder import RunFolder
from distill.core.schedule import Schedule
from distill.data.dataset import Dataset, LabelledImage
from distill.data.tiles import TilePlan
from distill.detector.build import DetectionTask, build_module
from distill.evaluation.evaluate import Metrics
from distill.gid.task import DistillationTask
from distill.settings.recipe import Recipe
from distill.settings.structure import DetectorStructure
from distill.training.fake_quantiser import FakeQuantised, Rounding, rounding_of
from distill.training.starting_point import structure_to_train
from distill.ultralytics_door import ModelEMA
from edge.core.contract import ModelContract
from edge.core.errors import CheckpointError, DatasetError


@dataclass
class TrainingState:
    """Say where training stands: `batch` steps of `epoch` are done."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    elapsed_s: float = 0.0
    loss_sums: dict[str, float] = field(default_factory=dict)
    best_fitness: float = -1.0
    best_epoch: int = -1

    def take(self, other: TrainingState) -> None:
        """Stand where another process stands."""
        for field_ in fields(self):
            setattr(self, field_.name, getattr(other, field_.name))


class TrainingTask(Protocol):
    """Turn a batch into named loss parts."""

    def loss_parts(self, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the loss parts of a batch (see `DetectionTask`)."""


@dataclass(frozen=True)
class TrainingRun:
    """Hold everything that training works with.

    Attributes:
        beside: what learns beside the module and is no part of the detector: the adapters of a
            distillation. Empty without a teacher.
        teacher_digest: sha256 of the teacher's checkpoint; None without one.
        rounding: as the INT8 export will; None trains in float.
    """

    recipe: Recipe
    folder: RunFolder
    device: torch.device
    structure: DetectorStructure
    contract: ModelContract
    train_plan: TilePlan
    val_plan: TilePlan
    dataset_digest: str
    turned_ids: Sequence[int | None]
    module: nn.Module
    task: TrainingTask
    beside: nn.Module
    teacher_digest: str | None
    rounding: Rounding | None
    average: Any
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    schedule: Schedule
    state: TrainingState
    processes: Processes

    @property
    def to_validate(self) -> nn.Module:
        """The moving average, which is what is kept, in the arithmetic it is trained for."""
        average: nn.Module = self.average.ema
        return FakeQuantised(average, self.rounding) if self.rounding else average


def prepare_run(
    dataset: Dataset,
    contract: ModelContract,
    recipe: Recipe,
    folder: RunFolder,
    device: torch.device,
    turned_ids: Sequence[int | None],
    teacher: Detector | None = None,
    begins_with: Path | None = None,
    processes: Processes = ALONE,
) -> TrainingRun:
    """Build a run that stands at its beginning.

    Args:
        begins_with: checkpoint that will be resumed or started from: if it is of a pruned version of the
            recipe's structure, that is what is built. Its weights are not taken here.
        teacher: on the processor, if the recipe has a distillation; it is moved to the device.
    Raises:
        CheckpointError: if `begins_with` cannot be read.
        DatasetError: if an image is damaged.
        ConfigError: if the recipe asks for a precision that the device does not have, if its batch cannot
            be split into the processes, or if teacher and student cannot be compared.
        ValueError: if the recipe has a distillation and there is no teacher, or the other way round.
    """
    torch.manual_seed(recipe.seed)
    processes.part_of(recipe.batch)  # before anything long
    plans = [
        TilePlan(images, contract, dataset.mm_per_px, recipe.cache_mb // 2)
        for images in (dataset.train, dataset.val)
    ]
    structure = structure_to_train(recipe, contract, begins_with)
    module = build_module(structure).to(device).to(memory_format=torch.channels_last)
    precision = choose_precision(recipe.precision, device)
    state = TrainingState()
    order = plans[0].epoch_order(0, recipe.seed, recipe.empty_tile_share, recipe.rare_class_share)
    steps_per_epoch = -(-len(order) // recipe.batch)
    settings = recipe.fake_quantisation
    rounding = rounding_of(module, settings.range_share) if settings is not None else None
    rounded = FakeQuantised(module, rounding) if rounding is not None else None
    detection = DetectionTask(module, precision, recipe.assigner, rounded)
    task: TrainingTask = detection
    beside: nn.Module = nn.ModuleList()
    if (teacher is None) != (recipe.distillation is None):
        raise ValueError("a distillation needs a teacher, and a teacher a distillation")
    if teacher is not None and recipe.distillation is not None:
        asked = recipe.distillation
        distillation = DistillationTask(
            detection,
            module,
            teacher.module.to(device).to(memory_format=torch.channels_last),
            asked,
            precision,
            input_shape=(contract.channels, *contract.input_size_hw_px),
            mm_per_px=contract.mm_per_px,
            fraction=lambda: asked.fraction_at(state.step / steps_per_epoch, recipe.epochs),
        )
        task, beside = distillation, distillation.adapters
    return TrainingRun(
        recipe=recipe,
        folder=folder,
        device=device,
        structure=structure,
        contract=contract,
        train_plan=plans[0],
        val_plan=plans[1],
        dataset_digest=dataset_digest(dataset.train + dataset.val),
        turned_ids=turned_ids,
        module=module,
        task=task,
        beside=beside,
        teacher_digest=teacher.file_digest if teacher is not None else None,
        rounding=rounding,
        average=ModelEMA(module, decay=recipe.ema_decay, tau=recipe.ema_warmup_steps),
        optimizer=optimizer_of(nn.ModuleList([module, beside]), recipe),
        scaler=precision.gradient_scaler(),
        schedule=Schedule(
            peak=recipe.learning_rate,
            final_share=recipe.final_learning_rate_share,
            warmup_steps=recipe.warmup_epochs * steps_per_epoch,
            total_steps=recipe.epochs * steps_per_epoch,
            time_limit_s=recipe.time_limit_min * 60 if recipe.time_limit_min else None,
        ),
        state=state,
        processes=processes,
    )


def save_last(run: TrainingRun, metrics: Metrics | None = None) -> None:
    """Write `last.pt`, from which the run can go on."""
    write_checkpoint(run.folder.last, checkpoint_of(run, metrics, training=_training_state(run)))


def checkpoint_of(run: TrainingRun, metrics: Metrics | None, training: dict[str, Any] | None) -> Checkpoint:
    """Make a checkpoint of the moving average, with the thresholds that these metrics chose."""
    weights = {name: tensor.float() if tensor.is_floating_point() else tensor
               for name, tensor in run.average.ema.state_dict().items()}  # fmt: skip
    thresholds = metrics.thresholds if metrics else run.contract.score_thresholds
    contract = run.contract.model_copy(update={"score_thresholds": thresholds})
    summary = {"map50": metrics.map50, "map50_95": metrics.map50_95} if metrics else {}
    return Checkpoint(
        run.structure, weights, contract, run.recipe.model_dump(mode="json"), summary, training
    )


def _training_state(run: TrainingRun) -> dict[str, Any]:
    state = run.state
    return {
        "epoch": state.epoch,
        "batch": state.batch,
        "step": state.step,
        "elapsed_s": state.elapsed_s,
        "loss_sums": dict(state.loss_sums),
        "best_fitness": state.best_fitness,
        "best_epoch": state.best_epoch,
        "weights": run.module.state_dict(),
        "average_updates": run.average.updates,
        "optimizer": run.optimizer.state_dict(),
        "scaler": run.scaler.state_dict(),
        "dataset_digest": run.dataset_digest,
        "beside": run.beside.state_dict(),
        "teacher_digest": run.teacher_digest,
        "ranges": run.rounding.ranges if run.rounding is not None else None,
    }


def restore_run(run: TrainingRun) -> None:
    """Take up training where `last.pt` left it.

    Raises:
        CheckpointError: if it is missing, damaged, or of another run or teacher.
        DatasetError: if the data set is not the one the run was started with.
    """
    checkpoint = read_checkpoint(run.folder.last)
    saved = checkpoint.training
    if saved is None:
        raise CheckpointError(f"{run.folder.last} holds no training state.", "Start a new run.")
    if checkpoint.structure != run.structure:
        raise CheckpointError(
            f"{run.folder.last} is of another structure than its recipe.", "Start a new run."
        )
    try:
        if saved["dataset_digest"] != run.dataset_digest:
            raise DatasetError(
                "The data set is not the one this run was started with.",
                "Restore it, or start a new run with another --out.",
            )
        if saved.get("teacher_digest") != run.teacher_digest:
            raise CheckpointError(
                f"The run in {run.folder.path} was started under another teacher.",
                "Bring that checkpoint back, or start a new run with another --out.",
            )
        run.module.load_state_dict(saved["weights"])
        run.beside.load_state_dict(saved.get("beside", {}))
        run.average.ema.load_state_dict(dict(checkpoint.weights))
        run.average.updates = saved["average_updates"]
        run.optimizer.load_state_dict(saved["optimizer"])
        run.scaler.load_state_dict(saved["scaler"])
        if (saved.get("ranges") is None) != (run.rounding is None):
            raise ValueError("one of them rounds for INT8, the other does not")
        if run.rounding is not None:
            run.rounding.ranges.copy_(saved["ranges"])
        for name in ("epoch", "batch", "step", "elapsed_s", "loss_sums", "best_fitness", "best_epoch"):
            setattr(run.state, name, saved[name])
    except (KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{run.folder.last} does not fit this run: {str(error).splitlines()[0]}.", "Start a new run."
        ) from error


def optimizer_of(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Build AdamW; biases and the scales of normalisation are not decayed."""
    decayed = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.999))


def dataset_digest(images: tuple[LabelledImage, ...]) -> str:
    """Return a sha256 over the names of the images and their labels."""
    digest = hashlib.sha256()
    for image in images:
        rows = [image.boxes_xyxy_norm.round(6).tolist(), image.class_ids.tolist()]
        if image.weights is not None and (image.weights != 1).any():
            rows.append(image.weights.round(6).tolist())
        digest.update(f"{image.path.parent.name}/{image.path.name} {json.dumps(rows)}\n".encode())
    return digest.hexdigest()
