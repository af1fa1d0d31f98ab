"""Train a detector: one loop, to be read from top to bottom.

All chance is a function of the recipe's seed, the epoch and the tile, so a run that was interrupted goes on
exactly as if it had not been: `last.pt` needs no state of a random generator.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from distill.checkpoint import Checkpoint, read_checkpoint, weights_digest, write_checkpoint
from distill.dataset import Dataset, LabelledPicture
from distill.detector.build import DetectionTask, build_module
from distill.detector.structure import DetectorStructure
from distill.evaluate import DEFAULT_THRESHOLD, Metrics, validate
from distill.interruption import StopRequest, stop_on_signal
from distill.precision import choose_precision
from distill.recipe import Recipe
from distill.run_folder import RunFolder
from distill.schedule import Schedule, schedule_of
from distill.tiles import TilePlan, TrainingTiles, batches
from distill.ultralytics_door import ModelEMA
from edge.contract import ModelContract, Tiles
from edge.errors import CheckpointError, DatasetError, TrainingError
from edge.taxonomy import Taxonomy


class Listener(Protocol):
    """Hear how training goes."""

    def batch_done(self, epoch: int, done: int, total: int, loss: float) -> None:
        """Hear of a step."""

    def epoch_done(self, row: Mapping[str, Any]) -> None:
        """Hear of an epoch: the row of history.jsonl."""


@dataclass
class _State:
    """Where training stands. `batch` steps of `epoch` are done."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    elapsed_s: float = 0.0
    loss_sums: dict[str, float] = field(default_factory=dict)
    best_fitness: float = -1.0
    best_epoch: int = -1


@dataclass(frozen=True)
class _Run:
    """Everything that training works with."""

    recipe: Recipe
    folder: RunFolder
    device: torch.device
    structure: DetectorStructure
    contract: ModelContract
    train_plan: TilePlan
    val_plan: TilePlan
    dataset_digest: str
    module: nn.Module
    task: DetectionTask
    average: Any
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    schedule: Schedule
    state: _State


def contract_for(recipe: Recipe, taxonomy: Taxonomy, dataset_mm_per_px: float | None) -> ModelContract:
    """State what a model trained by this recipe will need and say."""
    return ModelContract(
        taxonomy_version=taxonomy.version,
        class_names=taxonomy.classes,
        input_size_hw_px=recipe.input_size_hw_px,
        colour_order=recipe.colour_order,
        enhancement=recipe.enhancement,
        geometry=Tiles(overlap_px=recipe.overlap_px),
        score_thresholds=dict.fromkeys(taxonomy.classes, DEFAULT_THRESHOLD),
        mm_per_px=recipe.mm_per_px or dataset_mm_per_px,
        source_digest="0" * 64,
    )


def train(
    dataset: Dataset,
    contract: ModelContract,
    recipe: Recipe,
    folder: RunFolder,
    *,
    device: torch.device,
    listener: Listener,
    resume: bool = False,
) -> bool:
    """Train until the recipe is done; `best.pt` and `last.pt` are in the run folder after every epoch.

    Returns:
        False if a signal stopped it: it can be resumed.
    Raises:
        TrainingError: if the loss is not finite; the checkpoints of the epoch before stay.
        CheckpointError: if there is nothing to resume, or `last.pt` is damaged.
        DatasetError: if a picture is damaged, or the data set is not the one the run was started with.
    """
    run = _prepare(dataset, contract, recipe, folder, device)
    state = run.state
    if resume:
        _restore(run)
    folder.keep_history_before(state.epoch)
    with stop_on_signal() as stop:
        while state.epoch < recipe.epochs and not _is_enough(run):
            started = time.monotonic()
            if not _train_epoch(run, listener, stop):
                _save_last(run)
                return False
            metrics = validate(run.average.ema, run.val_plan, contract, device)
            state.elapsed_s += time.monotonic() - started
            row = _history_row(run, metrics, time.monotonic() - started)
            _close_epoch(run, metrics, row)
            listener.epoch_done(row)
    return True


def _prepare(
    dataset: Dataset, contract: ModelContract, recipe: Recipe, folder: RunFolder, device: torch.device
) -> _Run:
    torch.manual_seed(recipe.seed)
    plans = [
        TilePlan(pictures, contract, dataset.mm_per_px, recipe.cache_mb // 2)
        for pictures in (dataset.train, dataset.val)
    ]
    structure = DetectorStructure(
        scale=recipe.scale, channels=1 if contract.channels == 1 else 3, classes=len(contract.class_names)
    )
    module = build_module(structure).to(device).to(memory_format=torch.channels_last)
    precision = choose_precision(recipe.precision, device)
    order = plans[0].epoch_order(0, recipe.seed, recipe.empty_tile_share)
    return _Run(
        recipe=recipe,
        folder=folder,
        device=device,
        structure=structure,
        contract=contract,
        train_plan=plans[0],
        val_plan=plans[1],
        dataset_digest=_dataset_digest(dataset.train + dataset.val),
        module=module,
        task=DetectionTask(module, precision),
        average=ModelEMA(module, decay=recipe.ema_decay, tau=recipe.ema_warmup_steps),
        optimizer=_optimizer(module, recipe),
        scaler=precision.gradient_scaler(),
        schedule=schedule_of(recipe, steps_per_epoch=-(-len(order) // recipe.batch)),
        state=_State(),
    )


def _train_epoch(run: _Run, listener: Listener, stop: StopRequest) -> bool:
    """Train the rest of an epoch; return False if a stop was asked for before its end."""
    state, recipe = run.state, run.recipe
    order = run.train_plan.epoch_order(state.epoch, recipe.seed, recipe.empty_tile_share)
    remaining = order[state.batch * recipe.batch :]
    tiles = TrainingTiles(
        run.train_plan, remaining, run.contract, recipe.augmentation, (recipe.seed, state.epoch)
    )
    total = -(-len(order) // recipe.batch)
    run.module.train()
    started = time.monotonic()
    for images, targets in batches(tiles, recipe.batch, recipe.workers):
        elapsed_s = state.elapsed_s + time.monotonic() - started
        parts = _step(run, images, targets, elapsed_s)
        for name, value in parts.items():
            state.loss_sums[name] = state.loss_sums.get(name, 0.0) + value
        state.batch, state.step = state.batch + 1, state.step + 1
        listener.batch_done(state.epoch, state.batch, total, sum(parts.values()))
        if run.schedule.is_over(elapsed_s):
            break
        if stop.is_set:
            state.elapsed_s = elapsed_s
            return False
    return True


def _step(run: _Run, images: Tensor, targets: dict[str, Tensor], elapsed_s: float) -> dict[str, float]:
    """Learn from one batch and return its loss parts."""
    for group in run.optimizer.param_groups:
        group["lr"] = run.schedule.learning_rate(run.state.step, elapsed_s)
    images = images.to(run.device, non_blocking=True, memory_format=torch.channels_last)
    parts = run.task.loss_parts(images, {name: value.to(run.device) for name, value in targets.items()})
    loss = torch.stack(list(parts.values())).sum()
    if not torch.isfinite(loss):
        raise TrainingError(
            f"The loss is not a finite number in epoch {run.state.epoch + 1}.",
            f"Lower learning_rate (now {run.recipe.learning_rate}); the checkpoints in {run.folder.path} "
            "are from before it.",
        )
    run.optimizer.zero_grad(set_to_none=True)
    run.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    run.scaler.unscale_(run.optimizer)
    nn.utils.clip_grad_norm_(run.module.parameters(), run.recipe.gradient_norm_limit)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    run.average.update(run.module)
    return {name: float(value.detach()) for name, value in parts.items()}


def _close_epoch(run: _Run, metrics: Metrics, row: dict[str, Any]) -> None:
    """Keep what the epoch gave: history, best, last, in this order, so that last.pt vouches for both."""
    state = run.state
    is_best = metrics.fitness > state.best_fitness
    if is_best:
        state.best_fitness, state.best_epoch = metrics.fitness, state.epoch
    state.epoch, state.batch, state.loss_sums = state.epoch + 1, 0, {}
    run.folder.append_history(row)
    if is_best:
        write_checkpoint(run.folder.best, _checkpoint(run, metrics, training=None))
    _save_last(run, metrics)


def _save_last(run: _Run, metrics: Metrics | None = None) -> None:
    write_checkpoint(run.folder.last, _checkpoint(run, metrics, training=_training_state(run)))


def _checkpoint(run: _Run, metrics: Metrics | None, training: dict[str, Any] | None) -> Checkpoint:
    weights = {name: tensor.float() if tensor.is_floating_point() else tensor
               for name, tensor in run.average.ema.state_dict().items()}  # fmt: skip
    thresholds = metrics.thresholds if metrics else run.contract.score_thresholds
    contract = run.contract.model_copy(
        update={"score_thresholds": thresholds, "source_digest": weights_digest(weights)}
    )
    summary = {"map50": metrics.map50, "map50_95": metrics.map50_95} if metrics else {}
    return Checkpoint(
        run.structure, weights, contract, run.recipe.model_dump(mode="json"), summary, training
    )


def _training_state(run: _Run) -> dict[str, Any]:
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
    }


def _restore(run: _Run) -> None:
    """Take up training where `last.pt` left it."""
    checkpoint = read_checkpoint(run.folder.last)
    saved = checkpoint.training
    if saved is None:
        raise CheckpointError(f"{run.folder.last} holds no training state.", "Start a new run.")
    try:
        if saved["dataset_digest"] != run.dataset_digest:
            raise DatasetError(
                "The data set is not the one this run was started with.",
                "Restore it, or start a new run with another --out.",
            )
        run.module.load_state_dict(saved["weights"])
        run.average.ema.load_state_dict(dict(checkpoint.weights))
        run.average.updates = saved["average_updates"]
        run.optimizer.load_state_dict(saved["optimizer"])
        run.scaler.load_state_dict(saved["scaler"])
        for name in ("epoch", "batch", "step", "elapsed_s", "loss_sums", "best_fitness", "best_epoch"):
            setattr(run.state, name, saved[name])
    except (KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{run.folder.last} does not fit this run: {str(error).splitlines()[0]}.", "Start a new run."
        ) from error


def _is_enough(run: _Run) -> bool:
    """Tell whether patience or time has run out."""
    patience, state = run.recipe.patience_epochs, run.state
    is_stale = patience is not None and state.epoch - 1 - state.best_epoch >= patience
    return is_stale or run.schedule.is_over(state.elapsed_s)


def _optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Build AdamW; biases and the scales of normalisation are not decayed."""
    decayed = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.999))


def _history_row(run: _Run, metrics: Metrics, seconds: float) -> dict[str, Any]:
    state = run.state
    losses = {f"loss_{name}": total / state.batch for name, total in state.loss_sums.items()}
    return {
        "epoch": state.epoch,
        "steps": state.step,
        "loss": sum(losses.values()),
        **losses,
        "learning_rate": run.optimizer.param_groups[0]["lr"],
        "map50": metrics.map50,
        "map50_95": metrics.map50_95,
        "ap50": metrics.ap50,
        "tiles": min(state.batch * run.recipe.batch, len(run.train_plan.tiles)),
        "seconds": round(seconds, 2),
    }


def _dataset_digest(pictures: tuple[LabelledPicture, ...]) -> str:
    """Return a sha256 over the names of the pictures and their labels."""
    digest = hashlib.sha256()
    for picture in pictures:
        rows = [picture.boxes_share.round(6).tolist(), picture.class_ids.tolist()]
        digest.update(f"{picture.path.parent.name}/{picture.path.name} {json.dumps(rows)}\n".encode())
    return digest.hexdigest()
