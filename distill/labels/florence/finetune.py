"""Fine-tune the teacher: one loop, to be read from top to bottom.

All chance is a function of the seed, the epoch and the step, so a run that was interrupted goes on exactly
as if it had not been: `last.pt` needs no state of a random generator.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from distill.core.progress import Listener
from distill.core.run_folder import RunFolder
from distill.labels.florence.curves import draw_curves
from distill.labels.florence.finetune_run import (
    FinetuneRun,
    prepare_run,
    restore_run,
    save_best,
    save_last,
    steps_of,
)
from distill.labels.florence.loading import Teacher
from distill.labels.florence.publish import publish
from distill.labels.florence.settings import FinetuneSettings
from distill.labels.florence.teaching import loss_of
from distill.labels.florence.timetable import Turn, epoch_batches
from distill.labels.florence.validation import ValidationResult, validate
from distill.labels.sets.annotations import LabelSet
from edge.core.errors import TrainingError
from edge.core.taxonomy import Taxonomy
from edge.process.interruption import stopped_by_signals

CURVES = "curves.png"

_STEPS_PER_SEED = 1_000_003
"""More than any run has, and prime: no two seeds share the chance of a step."""


def finetune(
    teacher: Teacher,
    label_set: LabelSet,
    taxonomy: Taxonomy,
    settings: FinetuneSettings,
    folder: RunFolder,
    *,
    listener: Listener,
    resume: bool = False,
) -> bool:
    """Teach until the settings are met.

    The run folder then holds best.pt and last.pt, history.jsonl and curves.png, `adapter/` if adapters were
    trained, and `model/`: the best weights with the adapters merged, which `load_teacher` reads. The given
    teacher is changed and is not to be used afterwards.

    Returns:
        False if a signal stopped it: it can be resumed.
    Raises:
        TrainingError: if the loss diverges; best.pt and last.pt are from before it began.
        CheckpointError: if there is nothing to resume, or it is of another model.
        ConfigError: if a target matches nothing, nothing is left to learn, or a resumed run is asked to
            change.
        DatasetError: if a split is empty, gives no example, or is not that of the run that is resumed.
    """
    run = prepare_run(teacher, label_set, taxonomy, settings, folder)
    if resume:
        restore_run(run)
    folder.keep_history_before(run.progress.epoch)
    stop = threading.Event()
    with stopped_by_signals(stop):
        while run.progress.epoch < settings.epochs and not run.schedule.is_over(run.progress.elapsed_s):
            started, before_s = time.monotonic(), run.progress.elapsed_s
            if not _teach_epoch(run, listener, stop):
                save_last(run)
                return False
            run.progress.elapsed_s = before_s + time.monotonic() - started
            validation, seconds = _validated(run), time.monotonic() - started
            run.progress.elapsed_s = before_s + seconds
            row = _close_epoch(run, validation, seconds)
            listener.epoch_done(row)
    publish(run)
    return True


def _teach_epoch(run: FinetuneRun, listener: Listener, stop: threading.Event) -> bool:
    """Teach the rest of an epoch; return False if a stop was asked for before its end."""
    progress, started = run.progress, time.monotonic()
    steps = steps_of(epoch_batches(run.exercises, run.settings, progress.epoch), run.settings.accumulate)
    run.teacher.model.train()
    for batches in steps[progress.batch :]:
        elapsed_s = progress.elapsed_s + time.monotonic() - started
        loss = _step(run, batches, elapsed_s)
        progress.batch, progress.step = progress.batch + 1, progress.step + 1
        listener.batch_done(progress.epoch, progress.batch, len(steps), loss)
        if run.schedule.is_over(elapsed_s):
            break
        if stop.is_set():
            progress.elapsed_s = elapsed_s
            return False
    return True


def _step(run: FinetuneRun, batches: Sequence[Sequence[Turn]], elapsed_s: float) -> float:
    """Learn from some batches and return their mean loss; nan if none of their images can be read."""
    torch.manual_seed(run.settings.seed * _STEPS_PER_SEED + run.progress.step)
    for group in run.optimizer.param_groups:
        group["lr"] = run.schedule.learning_rate(run.progress.step, elapsed_s)
    run.optimizer.zero_grad(set_to_none=True)
    losses = [loss for turns in batches if (loss := _backward(run, turns, len(batches))) is not None]
    if not losses:
        return float("nan")
    mean = sum(losses) / len(losses)
    _watch(run, _kind(batches), mean)
    nn.utils.clip_grad_norm_(run.weights.values(), run.settings.gradient_norm_limit)
    run.optimizer.step()
    return mean


def _backward(run: FinetuneRun, turns: Sequence[Turn], fraction: int) -> float | None:
    """Add the gradients of a batch, as one of `fraction` that make a step."""
    tensors = run.train.tensors(turns)
    if tensors is None:
        return None
    with run.precision.autocast():
        loss = loss_of(run.teacher.model, tensors, run.locations, run.settings.location_sigma_bins)
    (loss / fraction).backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def _kind(batches: Sequence[Sequence[Turn]]) -> str:
    """Name the task of a step; `mixed` if it has several."""
    tasks = {turn.exercise.task for turns in batches for turn in turns}
    return tasks.pop() if len(tasks) == 1 else "mixed"


def _watch(run: FinetuneRun, kind: str, loss: float) -> None:
    """Note a loss, and stop if it diverges."""
    began = run.watch.see(kind, run.progress.step, loss)
    if began is not None:
        raise TrainingError(
            f"The loss of {kind} diverges since step {began + 1} (now step {run.progress.step + 1}, loss "
            f"{loss:.2f}).",
            f"Lower learning_rate (now {run.settings.learning_rate}); the checkpoints in {run.folder.path} "
            "are from before it.",
        )
    sums = run.progress.losses.setdefault(kind, [0.0, 0.0])
    sums[0], sums[1] = sums[0] + loss, sums[1] + 1


def _validated(run: FinetuneRun) -> ValidationResult | None:
    """Validate if this epoch is one to be validated."""
    done = run.progress.epoch + 1
    is_last = done == run.settings.epochs or run.schedule.is_over(run.progress.elapsed_s)
    return validate(run) if is_last or done % run.settings.validate_every_epochs == 0 else None


def _close_epoch(run: FinetuneRun, validation: ValidationResult | None, seconds: float) -> dict[str, Any]:
    """Keep what the epoch gave: history, curves, best, last, in this order."""
    progress = run.progress
    row = _history_row(run, validation, seconds)
    is_best = validation is not None and (progress.best is None or validation.rank > progress.best)
    if validation is not None and is_best:
        progress.best = validation.rank
    progress.epoch, progress.batch, progress.losses = progress.epoch + 1, 0, {}
    run.folder.append_history(row)
    if validation is not None:
        draw_curves(run.folder.read_history(), run.folder.path / CURVES)
    # While a loss is rising, the weights may be on their way out: the state from before it stays.
    if not run.watch.is_rising:
        if is_best:
            save_best(run)
        save_last(run)
    return row


def _history_row(run: FinetuneRun, validation: ValidationResult | None, seconds: float) -> dict[str, Any]:
    progress = run.progress
    sums = progress.losses.values()
    count = sum(number for _, number in sums)
    metrics = validation.metrics if validation else None
    return {
        "epoch": progress.epoch,
        "steps": progress.step,
        "loss": sum(total for total, _ in sums) / count if count else None,
        **{f"loss_{kind}": total / number for kind, (total, number) in progress.losses.items()},
        "learning_rate": run.optimizer.param_groups[0]["lr"],
        "val_loss": validation.loss if validation else None,
        "map50": metrics.map50 if metrics else None,
        "map50_95": metrics.map50_95 if metrics else None,
        "ap50": metrics.ap50 if metrics else None,
        "lessons": len(run.exercises),
        "unreadable": len(run.train.unreadable),
        "seconds": round(seconds, 2),
    }
