"""Train a detector: one loop, to be read from top to bottom.

All chance is a function of the recipe's seed, the epoch and the tile, so a run that was interrupted goes on
exactly as if it had not been: `last.pt` needs no state of a random generator.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distill.checkpoint import write_checkpoint
from distill.core.figures import write_figure
from distill.core.processes import ALONE, Processes
from distill.core.progress import Listener
from distill.core.run_folder import RunFolder
from distill.data.dataset import Dataset
from distill.data.tiles import TrainingTiles, batches, showings
from distill.evaluation.evaluate import DEFAULT_THRESHOLD, Metrics, validate
from distill.gid.teacher import load_teacher
from distill.settings.recipe import Recipe
from distill.training.epochs import run_epochs
from distill.training.instance_images import InstanceImages
from distill.training.scales import add_penalty, draw_scales, scale_figures
from distill.training.taking_weights import take_weights
from distill.training.training_run import (
    TrainingRun,
    checkpoint_of,
    prepare_run,
    restore_run,
    save_last,
)
from edge.core.contract import ModelContract, Tiles
from edge.core.errors import TrainingError
from edge.core.taxonomy import Taxonomy


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
    turned_ids: Sequence[int | None],
    resume: bool = False,
    start_from: Path | None = None,
    teacher: Path | None = None,
    processes: Processes = ALONE,
) -> bool:
    """Train until the recipe is done; `best.pt` and `last.pt` are in the run folder after every epoch.

    A fresh run starts from random weights, or from those of the checkpoint `start_from`, whose digest is
    then recorded in the run folder; where that one is pruned, its channels are trained on and no others. If
    several `processes` train, all call this alike, and the first alone validates, writes and tells the
    listener. If the recipe has a distillation, the detector learns from the checkpoint `teacher`, too.
    `turned_ids` says which class each becomes by a quarter turn, see `Taxonomy.quarter_turned_ids`.

    Returns:
        False if a signal stopped it: it can be resumed.
    Raises:
        TrainingError: if the loss, or what the detector says, is not finite; the checkpoints of the epoch
            before stay.
        CheckpointError: if there is nothing to resume, `last.pt` is damaged, `start_from` is of another
            structure, or the teacher cannot be read.
        ConfigError: if the teacher was trained for other classes or another input, or its head cannot be
            compared with the student's.
        DatasetError: if an image is damaged, or the data set is not the one the run was started with.
        OutputError: if the run folder cannot be written.
        ValueError: if both `resume` and `start_from` are given, or only one of a teacher and a recipe with
            a distillation.
    """
    if resume and start_from is not None:
        raise ValueError("a resumed run has its weights: start_from has no meaning")
    guide = load_teacher(teacher, contract) if teacher is not None else None
    begins_with = folder.last if resume else start_from
    run = prepare_run(
        dataset, contract, recipe, folder, device, turned_ids, guide, begins_with, processes
    )  # fmt: skip
    state = run.state
    if resume:
        restore_run(run)
    elif start_from is not None:
        take_weights(run, start_from)
    if processes.is_first:
        folder.keep_history_before(state.epoch)
        folder.keep_steps_before(state.step)
    images = InstanceImages(run)
    return run_epochs(
        state,
        run.module,
        processes,
        is_over=lambda: state.epoch >= recipe.epochs or _is_enough(run),
        train_epoch=partial(_train_epoch, run, listener),
        finish_epoch=partial(_finish_epoch, run, listener, images),
        save=partial(save_last, run),
    )


def _finish_epoch(run: TrainingRun, listener: Listener, images: InstanceImages, started: float) -> None:
    """Validate, write and tell; `started` is the monotonic time at the beginning of the epoch."""
    metrics = validate(run.to_validate, run.val_plan, run.contract, run.device)
    seconds = time.monotonic() - started
    run.state.elapsed_s += seconds
    row = _history_row(run, metrics, seconds)
    images.draw(run.state.epoch + 1)
    _close_epoch(run, metrics, row)
    listener.epoch_done(row)


def _train_epoch(run: TrainingRun, listener: Listener, stop: threading.Event) -> bool:
    """Train the rest of an epoch; return False if a stop was asked for before its end."""
    state, recipe = run.state, run.recipe
    order = run.train_plan.epoch_order(
        state.epoch, recipe.seed, recipe.empty_tile_share, recipe.rare_class_share
    )
    processes = run.processes
    batch = processes.part_of(recipe.batch)
    remaining = processes.fraction_of(showings(order))[state.batch * batch :]
    tiles = TrainingTiles(
        run.train_plan,
        remaining,
        run.contract,
        recipe.augmentation,
        (recipe.seed, state.epoch),
        run.turned_ids,
        finds_cloth=recipe.distillation is not None and recipe.distillation.finds_cloth,
    )
    total = -(-len(order) // recipe.batch)
    run.module.train()
    started = time.monotonic()
    for images, targets in batches(tiles, batch, recipe.workers):
        elapsed_s = state.elapsed_s + time.monotonic() - started
        agreed = processes.greatest({"elapsed_s": elapsed_s, "stop": float(stop.is_set())})
        if agreed["stop"]:
            return False
        elapsed_s = agreed["elapsed_s"]
        parts = processes.average(_step(run, images, targets, elapsed_s))
        for name, value in parts.items():
            state.loss_sums[name] = state.loss_sums.get(name, 0.0) + value
        if recipe.distillation is not None and processes.is_first:
            run.folder.append_step(
                {"step": state.step, "epoch": state.epoch, **parts, **_cloth_ratio(targets)}
            )
        state.batch, state.step = state.batch + 1, state.step + 1
        if processes.is_first:
            listener.batch_done(state.epoch, state.batch, total, sum(parts.values()))
        if run.schedule.is_over(elapsed_s):
            break
    return True


def _cloth_ratio(targets: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the ratio of a batch's cells in which instances are permitted, where that is limited."""
    return {"cloth_ratio": round(float(targets["cloth"].mean()), 4)} if "cloth" in targets else {}


def _step(
    run: TrainingRun, images: Tensor, targets: dict[str, Tensor], elapsed_s: float
) -> dict[str, float]:
    """Learn from one batch and return its loss parts."""
    for group in run.optimizer.param_groups:
        group["lr"] = run.schedule.learning_rate(run.state.step, elapsed_s)
    images = images.to(run.device, non_blocking=True, memory_format=torch.channels_last)
    parts = run.task.loss_parts(images, {name: value.to(run.device) for name, value in targets.items()})
    loss = torch.stack(list(parts.values())).sum()
    if not torch.isfinite(loss):
        guilty = [name for name, value in parts.items() if not torch.isfinite(value)] or ["their sum"]
        raise TrainingError(
            f"The loss is not a finite number in epoch {run.state.epoch + 1} ({', '.join(guilty)}).",
            f"Lower learning_rate (now {run.recipe.learning_rate}); the checkpoints in {run.folder.path} "
            "are from before it.",
        )
    run.optimizer.zero_grad(set_to_none=True)
    run.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    run.processes.average_gradients((run.module, run.beside))
    run.scaler.unscale_(run.optimizer)
    for learner in (run.module, run.beside):  # each by itself: adapters must not slow the detector down
        nn.utils.clip_grad_norm_(list(learner.parameters()), run.recipe.gradient_norm_limit)
    if run.recipe.sparsity is not None:
        add_penalty(run.module, run.recipe.sparsity.strength_at(run.state.epoch, run.recipe.epochs))
    run.scaler.step(run.optimizer)
    run.scaler.update()
    run.average.update(run.module)
    return {name: float(value.detach()) for name, value in parts.items()}


def _close_epoch(run: TrainingRun, metrics: Metrics, row: dict[str, Any]) -> None:
    """Keep what the epoch gave: history, best, last, in this order, so that last.pt vouches for both."""
    state = run.state
    is_best = metrics.fitness > state.best_fitness
    if is_best:
        state.best_fitness, state.best_epoch = metrics.fitness, state.epoch
    state.epoch, state.batch, state.loss_sums = state.epoch + 1, 0, {}
    run.folder.append_history(row)
    if run.recipe.sparsity is not None:
        write_figure(draw_scales(run.folder.read_history()), run.folder.scales)
    if is_best:
        write_checkpoint(run.folder.best, checkpoint_of(run, metrics, training=None))
    save_last(run, metrics)


def _is_enough(run: TrainingRun) -> bool:
    """Tell whether patience or time has run out."""
    patience, state = run.recipe.patience_epochs, run.state
    is_stale = patience is not None and state.epoch - 1 - state.best_epoch >= patience
    return is_stale or run.schedule.is_over(state.elapsed_s)


def _history_row(run: TrainingRun, metrics: Metrics, seconds: float) -> dict[str, Any]:
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
        **(scale_figures(run.average.ema) if run.recipe.sparsity is not None else {}),
    }
