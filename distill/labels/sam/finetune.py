"""Fine-tune the mask decoder of a SAM on frozen encoders: one loop, to be read from top to bottom.

All chance is a function of the seed, the epoch and the window, so a run that was interrupted goes on
exactly as if it had not been.
"""

from __future__ import annotations

import json
import math
import shutil
import threading
import time
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distill.core.progress import Listener
from distill.core.run_folder import RunFolder
from distill.labels.sam.drawing import draw, masks_of
from distill.labels.sam.examples import MaskExample
from distill.labels.sam.finetune_run import (
    SamRun,
    batches_of,
    load_best,
    prepare_run,
    restore_run,
    save_best,
    save_last,
)
from distill.labels.sam.loading import Sam, write_sam
from distill.labels.sam.losses import loss_parts, overlaps
from distill.labels.sam.masks import TrueMask, overlap
from distill.labels.sam.settings import SamFinetuneSettings
from distill.labels.sets.annotations import BoxXyxy
from edge.core.errors import TrainingError
from edge.core.geometry import View
from edge.core.publishing import new_folder
from edge.process.interruption import stopped_by_signals

MODEL_FOLDER = "model"

MOST_JITTER_PX = 20.0
"""As in the paper (Segment Anything, appendix A)."""

_ORDER, _EXAMPLE = 0, 1
"""First words of the seeds: the order of examples and what happens in one draw from separate streams."""


def finetune(
    sam: Sam,
    train: Sequence[MaskExample],
    val: Sequence[MaskExample],
    settings: SamFinetuneSettings,
    folder: RunFolder,
    *,
    listener: Listener,
    resume: bool = False,
) -> bool:
    """Teach until all epochs are done.

    The run folder then holds best.pt, last.pt, history.jsonl, metrics.json and `model/`: the best weights,
    which `load_sam` reads. The best may be the ones it began with. The given model is changed and not to be
    used afterwards.

    Returns:
        False if a signal stopped it: it can be resumed.
    Raises:
        TrainingError: if the loss is not finite; the states of the epoch before stay.
        CheckpointError: if there is nothing to resume, or it is of another model.
        ConfigError: if a resumed run is asked to change.
        DatasetError: if an image cannot be read, or the labels are not those of the run that is resumed.
    """
    run = prepare_run(sam, train, val, settings, folder)
    if resume:
        restore_run(run)
    else:
        _begin(run)
    folder.keep_history_before(run.progress.epoch)
    stop = threading.Event()
    with stopped_by_signals(stop):
        while run.progress.epoch < settings.epochs:
            started = time.monotonic()
            if not _teach_epoch(run, listener, stop):
                save_last(run)
                return False
            row = _close_epoch(run, time.monotonic() - started)
            listener.epoch_done(row)
    _publish(run)
    return True


def validation_overlap(run: SamRun) -> float:
    """Return the mean overlap of masks with the ground truth on the validation split; prompts are tight
    boxes."""
    run.sam.model.eval()
    found = []
    for example in run.val:
        features = run.store.features(example)
        drawn, _ = masks_of(run.sam, features, _prompts(example.masks, example.view), batch=32)
        found += [
            overlap(_shown(one, example.view), mask.numpy().astype(np.uint8))
            for one, mask in zip(example.masks, drawn, strict=True)
        ]
    return float(np.mean(found))


def full_box_overlap(examples: Sequence[MaskExample]) -> float:
    """Return what the trivial answer reaches, a mask that fills its box."""
    return float(np.mean([mask.mask.mean() for example in examples for mask in example.masks]))


def _begin(run: SamRun) -> None:
    """Measure the model as it is; whatever training gives has to be better."""
    before = validation_overlap(run)
    run.progress.best = (before, 0.0)
    run.folder.write_json(
        run.folder.metrics, {"before": before, "full_box": full_box_overlap(run.val), "best": before}
    )
    save_best(run)
    save_last(run)


def _teach_epoch(run: SamRun, listener: Listener, stop: threading.Event) -> bool:
    """Teach the rest of an epoch; return False if a stop was asked for before its end."""
    progress, settings = run.progress, run.settings
    steps = batches_of(run.train, settings)
    order = np.random.default_rng([_ORDER, settings.seed, progress.epoch]).permutation(len(run.train))
    run.sam.model.train()
    for positions in steps[progress.batch :]:
        loss = _step(run, [int(order[position]) for position in positions])
        progress.batch, progress.step = progress.batch + 1, progress.step + 1
        listener.batch_done(progress.epoch, progress.batch, len(steps), loss)
        if stop.is_set():
            return False
    return True


def _step(run: SamRun, examples: Sequence[int]) -> float:
    """Learn from some windows and return their mean loss.

    Raises:
        TrainingError: if it is not finite.
    """
    for group in run.optimizer.param_groups:
        group["lr"] = run.schedule.learning_rate(run.progress.step, 0.0)
    run.optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for number in examples:
        parts, reached = _parts(run, number)
        loss = torch.stack(list(parts.values())).sum() / len(examples)
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
        _count(run, {**{name: float(part.detach()) for name, part in parts.items()}, "iou": reached})
    if not math.isfinite(total):
        raise TrainingError(
            f"The loss is not finite at step {run.progress.step + 1}.",
            f"Lower learning_rate (now {run.settings.learning_rate}); the checkpoints in {run.folder.path} "
            "are from before it.",
        )
    nn.utils.clip_grad_norm_(run.weights.values(), run.settings.gradient_norm_limit)
    run.optimizer.step()
    return total


def _parts(run: SamRun, number: int) -> tuple[dict[str, Tensor], float]:
    """Draw the masks of one window, from prompts that are a little off, and compare."""
    example, settings = run.train[number], run.settings
    rng = np.random.default_rng([_EXAMPLE, settings.seed, run.progress.epoch, number])
    chosen = rng.permutation(len(example.masks))[: settings.boxes_per_window]
    masks = [example.masks[index] for index in chosen]
    features = run.store.features(example)
    prompts = [_jittered(box, settings.box_jitter_share, rng) for box in _prompts(masks, example.view)]
    logits, qualities = draw(run.sam, features, prompts)
    ground_truth = np.stack([_scaled(_shown(mask, example.view), features.scaled_hw_px) for mask in masks])
    wanted = torch.from_numpy(ground_truth).to(logits.device)
    reached = float(overlaps(logits.detach(), wanted).mean())
    return loss_parts(logits, qualities, wanted, settings), reached


def _prompts(masks: Sequence[TrueMask], view: View) -> list[BoxXyxy]:
    """Return the tight boxes of masks, in pixels of a window."""
    left, top = view.left_px, view.top_px
    boxes = [mask.box_xyxy_px for mask in masks]
    return [(x1 - left, y1 - top, x2 - left, y2 - top) for x1, y1, x2, y2 in boxes]


def _jittered(box: BoxXyxy, fraction: float, rng: np.random.Generator) -> BoxXyxy:
    x1, y1, x2, y2 = box
    spread = np.array([x2 - x1, y2 - y1] * 2) * fraction
    moved = np.array(box) + np.clip(rng.normal(size=4) * spread, -MOST_JITTER_PX, MOST_JITTER_PX)
    return (
        float(min(moved[0], moved[2])), float(min(moved[1], moved[3])),
        float(max(moved[0], moved[2])), float(max(moved[1], moved[3])),
    )  # fmt: skip


def _shown(mask: TrueMask, view: View) -> NDArray[np.uint8]:
    size = (view.bottom_px - view.top_px, view.right_px - view.left_px)
    return mask.within(view.left_px, view.top_px, size)


def _scaled(mask: NDArray[np.uint8], size_hw_px: tuple[int, int]) -> NDArray[np.float32]:
    """Bring a mask to the size of the model's input; a pixel belongs to it if half of it does."""
    shrinks = size_hw_px[0] < mask.shape[0]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    scaled = cv2.resize(mask.astype(np.float32), (size_hw_px[1], size_hw_px[0]), interpolation=way)
    return np.asarray(scaled >= 0.5, np.float32)


def _count(run: SamRun, values: dict[str, float]) -> None:
    for name, value in values.items():
        sums = run.progress.losses.setdefault(name, [0.0, 0.0])
        sums[0], sums[1] = sums[0] + value, sums[1] + 1


def _close_epoch(run: SamRun, seconds: float) -> dict[str, Any]:
    """Keep what the epoch gave: history, best, last, in this order."""
    progress = run.progress
    reached = validation_overlap(run)
    means = {name: total / count for name, (total, count) in progress.losses.items()}
    row = {
        "epoch": progress.epoch,
        "steps": progress.step,
        "loss": means["focal"] + means["dice"] + means["quality"],
        **{f"loss_{name}": means[name] for name in ("focal", "dice", "quality")},
        "train_iou": means["iou"],
        "val_iou": reached,
        "learning_rate": run.optimizer.param_groups[0]["lr"],
        "seconds": round(seconds, 2),
    }
    is_best = progress.best is None or reached > progress.best[0]
    if is_best:
        progress.best = (reached, 0.0)
    progress.epoch, progress.batch, progress.losses = progress.epoch + 1, 0, {}
    run.folder.append_history(row)
    if is_best:
        save_best(run)
    save_last(run)
    return row


def _publish(run: SamRun) -> None:
    """Write `model/` and the last word on it."""
    load_best(run)
    metrics = {
        "before": _first_overlap(run),
        "full_box": full_box_overlap(run.val),
        "best": validation_overlap(run),
    }
    folder = run.folder.path / MODEL_FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    with new_folder(folder) as partial:
        write_sam(run.sam.model, run.sam.processor, partial)
    run.folder.write_json(run.folder.metrics, metrics)


def _first_overlap(run: SamRun) -> float | None:
    """Return what was measured before training; None if that file is gone."""
    try:
        value = json.loads(run.folder.metrics.read_text(encoding="utf-8"))["before"]
    except (OSError, ValueError, KeyError):
        return None
    return float(value)
