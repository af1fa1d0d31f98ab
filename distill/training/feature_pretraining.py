"""Let a backbone learn the features of a frozen trunk, before it learns to detect: one loop.

What ImageNet taught passes into a network of another shape, through images of any cloth, without a label
(FitNets, Romero et al., ICLR 2015: hints for a student's inner layers come first). As in the training of
a detector, all chance is a function of the recipe's seed, the epoch and the tile, so a run that was
interrupted goes on exactly as if it had not been.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from distill.core.figures import count_epochs, new_figure, write_figure
from distill.core.processes import Processes
from distill.core.progress import Listener
from distill.core.run_folder import RunFolder
from distill.data.dataset import Dataset
from distill.data.tiles import TrainingTiles, batches, ground_truth_batches, showings
from distill.settings.feature_pretraining import FeaturePretraining
from distill.settings.recipe import Recipe
from distill.training.epochs import run_epochs
from distill.training.feature_run import (
    FeatureRun,
    prepare_features,
    restore_features,
    save_best,
    save_last,
)
from edge.core.contract import ModelContract
from edge.core.errors import TrainingError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learn_features(
    dataset: Dataset,
    contract: ModelContract,
    recipe: Recipe,
    settings: FeaturePretraining,
    folder: RunFolder,
    *,
    listener: Listener,
    resume: bool,
    processes: Processes,
) -> bool:
    """Train until held-out images stop to gain; `best.pt` and `last.pt` are there after every epoch.

    Returns:
        False if a signal stopped it: it can be resumed.
    Raises:
        TrainingError: if the loss is not finite; the checkpoints of the epoch before stay.
        LoomsightError: as `prepare_features` and `restore_features`.
        OutputError: if the run folder cannot be written.
    """
    run = prepare_features(dataset, contract, recipe, settings, folder, processes)
    if resume:
        restore_features(run)
    state = run.state
    if processes.is_first:
        folder.keep_history_before(state.epoch)
    return run_epochs(
        state,
        run.module,
        processes,
        is_over=lambda: run.is_over,
        train_epoch=partial(_learn_epoch, run, listener),
        finish_epoch=partial(_finish_epoch, run, listener),
        save=partial(save_last, run),
    )


def _learn_epoch(run: FeatureRun, listener: Listener, stop: threading.Event) -> bool:
    """Train the rest of an epoch; return False if a stop was asked for before its end."""
    state, recipe, processes = run.state, run.recipe, run.processes
    order = run.epoch_order(state.epoch)
    batch = processes.part_of(recipe.batch)
    tiles = TrainingTiles(
        run.train_plan,
        processes.fraction_of(showings(order))[state.batch * batch :],
        run.contract,
        recipe.augmentation,
        (recipe.seed, state.epoch),
        turned_ids=(),
    )
    total, started = -(-len(order) // recipe.batch), time.monotonic()
    for images, _ in batches(tiles, batch, recipe.workers):
        elapsed_s = state.elapsed_s + time.monotonic() - started
        agreed = processes.greatest({"elapsed_s": elapsed_s, "stop": float(stop.is_set())})
        if agreed["stop"]:
            return False
        parts = processes.average(_step(run, images, agreed["elapsed_s"]))
        for name, value in parts.items():
            state.loss_sums[name] = state.loss_sums.get(name, 0.0) + value
        state.batch, state.step = state.batch + 1, state.step + 1
        if processes.is_first:
            listener.batch_done(state.epoch, state.batch, total, sum(parts.values()))
        if run.schedule.is_over(agreed["elapsed_s"]):
            break
    return True


def _step(run: FeatureRun, images: Tensor, elapsed_s: float) -> dict[str, float]:
    """Learn from one batch and return its loss parts."""
    for group in run.optimizer.param_groups:
        group["lr"] = run.schedule.learning_rate(run.state.step, elapsed_s)
    parts = run.loss_parts(_moved(run, images))
    loss = torch.stack(list(parts.values())).sum()
    if not torch.isfinite(loss):
        raise TrainingError(
            f"The loss of features is not a finite number in epoch {run.state.epoch + 1}.",
            f"Lower learning_rate in [feature_pretraining] (now {run.recipe.learning_rate}); the "
            f"checkpoints in {run.folder.path} are from before it.",
        )
    run.optimizer.zero_grad(set_to_none=True)
    run.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    run.processes.average_gradients((run.backbone, run.matching))
    run.scaler.unscale_(run.optimizer)
    for learner in (run.backbone, run.matching):  # each by itself, as in the training of a detector
        nn.utils.clip_grad_norm_(list(learner.parameters()), run.recipe.gradient_norm_limit)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    return {name: float(value.detach()) for name, value in parts.items()}


def _finish_epoch(run: FeatureRun, listener: Listener, started: float) -> None:
    """Measure, write and tell; `started` is the monotonic time at the beginning of the epoch."""
    state = run.state
    held_out = held_out_losses(run)
    seconds = time.monotonic() - started
    state.elapsed_s += seconds
    row = _history_row(run, held_out, seconds)
    is_best = -row["held_out_loss"] > state.best_fitness
    if is_best:
        state.best_fitness, state.best_epoch = -row["held_out_loss"], state.epoch
    state.epoch, state.batch, state.loss_sums = state.epoch + 1, 0, {}
    run.folder.append_history(row)
    write_figure(draw_curve(run.folder.read_history()), run.folder.curve)
    if is_best:
        save_best(run, row["held_out_loss"])
    save_last(run)
    listener.epoch_done(row)


def held_out_losses(run: FeatureRun) -> dict[str, float]:
    """Return the mean loss of each level over the held-out tiles, without augmentation.

    Raises:
        TrainingError: if one is not finite.
    """
    sums: dict[str, float] = {}
    with run.unchanged():
        for images, ground_truths in ground_truth_batches(
            run.held_out_plan, run.contract, run.recipe.batch
        ):
            for name, value in run.loss_parts(_moved(run, torch.from_numpy(images))).items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(ground_truths)
    losses = {name: value / len(run.held_out_plan.tiles) for name, value in sums.items()}
    if not all(map(math.isfinite, losses.values())):
        raise TrainingError(
            f"The features of held-out images are not finite numbers in epoch {run.state.epoch + 1}.",
            f"Lower learning_rate in [feature_pretraining] (now {run.recipe.learning_rate}).",
        )
    return losses


def draw_curve(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the loss over the epochs: in training, on held-out images, and there at each level."""
    figure = new_figure((8, 4.5))
    axes = figure.subplots()
    epochs = [row["epoch"] + 1 for row in history]
    for key, value in history[-1].items():
        if key in ("loss", "held_out_loss"):
            axes.plot(epochs, [row[key] for row in history], ".-", label=key.replace("_", " "))
        elif key.startswith("held_out_stride") and value:
            axes.plot(epochs, [row[key] for row in history], ":", label=key.replace("_", " "))
    axes.set(ylabel="1 - correlation with the trunk, weighted sum of levels", ylim=(0, None))
    count_epochs(axes)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _history_row(run: FeatureRun, held_out: Mapping[str, float], seconds: float) -> dict[str, Any]:
    state = run.state
    losses = {f"loss_{name}": total / state.batch for name, total in state.loss_sums.items()}
    return {
        "epoch": state.epoch,
        "steps": state.step,
        "loss": sum(losses.values()),
        **losses,
        "held_out_loss": sum(held_out.values()),
        **{f"held_out_{name}": value for name, value in held_out.items()},
        "learning_rate": run.optimizer.param_groups[0]["lr"],
        "tiles": min(state.batch * run.recipe.batch, len(run.train_plan.tiles)),
        "seconds": round(seconds, 2),
    }


def _moved(run: FeatureRun, images: Tensor) -> Tensor:
    return images.to(run.device, non_blocking=True, memory_format=torch.channels_last)
