"""Fine-tune the mask decoder of a SAM on frozen encoders; `finetuning.teach` has the loop."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distill.core.progress import Listener
from distill.core.run_folder import RunFolder
from distill.core.schedule import Schedule
from distill.labels.annotators.divergence import DivergenceWatch
from distill.labels.annotators.finetuning import Finetuning, Validation, adam_w, replacing, teach
from distill.labels.annotators.model_source import fingerprint_of
from distill.labels.sam.drawing import draw, masks_of
from distill.labels.sam.examples import MaskExample, digest_of
from distill.labels.sam.feature_store import FeatureStore
from distill.labels.sam.loading import Sam, write_sam
from distill.labels.sam.losses import loss_parts, overlaps
from distill.labels.sam.masks import TrueMask, overlap
from distill.labels.sam.settings import SamFinetuneSettings
from distill.labels.sets.annotations import BoxXyxy
from edge.core.geometry import View

MODEL_FOLDER = "model"

SHOWN = {"loss": "loss", "train_iou": "IoU", "val_iou": "validation IoU"}
"""What the line of an epoch says of its row of the history."""

MOST_JITTER_PX = 20.0
"""As in the paper (Segment Anything, appendix A)."""

_ORDER, _EXAMPLE = 0, 1
"""First words of the seeds: the order of examples and what happens in one draw from separate streams."""


@dataclass(frozen=True, kw_only=True)
class SamRun(Finetuning):
    """Hold everything that fine-tuning a SAM works with; of the model only the mask decoder learns."""

    kind = "SAM"
    settings_kind = SamFinetuneSettings

    settings: SamFinetuneSettings
    sam: Sam
    train: tuple[MaskExample, ...]
    val: tuple[MaskExample, ...]
    store: FeatureStore

    def begin(self) -> None:
        """Measure the model as it is; whatever training gives has to be better."""
        before = self.validation_overlap()
        self.progress.best = (before, 0.0)
        values = {"before": before, "full_box": full_box_overlap(self.val), "best": before}
        self.folder.write_json(self.folder.metrics, values)
        self.save_best()
        self.save_last()

    def steps(self) -> list[list[int]]:
        """Return the numbers of the windows of each step of this epoch."""
        rng = np.random.default_rng([_ORDER, self.settings.seed, self.progress.epoch])
        order = rng.permutation(len(self.train)).tolist()
        return [order[start : start + self.settings.batch] for start in _starts(order, self.settings)]

    def learn(self, step: Sequence[int]) -> tuple[str, float]:
        """Add the gradients of some windows."""
        total = 0.0
        for number in step:
            parts, reached = self._parts(number)
            loss = torch.stack(list(parts.values())).sum() / len(step)
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
            for name, part in parts.items():
                self.progress.count(name, float(part.detach()))
            self.progress.count("iou", reached)
        return "masks", total

    def validated(self) -> Validation:
        """Measure the overlap on the validation split."""
        reached = self.validation_overlap()
        return Validation((reached, 0.0), {"val_iou": reached})

    def losses(self) -> dict[str, Any]:
        """Return the loss, its parts and the overlap of this epoch."""
        means = {name: total / count for name, (total, count) in self.progress.losses.items()}
        parts = {f"loss_{name}": means[name] for name in ("focal", "dice", "quality")}
        return {"loss": sum(parts.values()), **parts, "train_iou": means["iou"]}

    def validation_overlap(self) -> float:
        """Return the mean overlap of masks with the ground truth on the validation split; prompts are tight
        boxes."""
        self.model.eval()
        found = []
        for example in self.val:
            features = self.store.features(example)
            drawn, _ = masks_of(self.sam, features, _prompts(example.masks, example.view), batch=32)
            found += [
                overlap(_shown(one, example.view), mask.numpy().astype(np.uint8))
                for one, mask in zip(example.masks, drawn, strict=True)
            ]
        return float(np.mean(found))

    def _parts(self, number: int) -> tuple[dict[str, Tensor], float]:
        """Draw the masks of one window, from prompts that are a little off, and compare."""
        example, settings = self.train[number], self.settings
        rng = np.random.default_rng([_EXAMPLE, settings.seed, self.progress.epoch, number])
        chosen = rng.permutation(len(example.masks))[: settings.boxes_per_window]
        masks = [example.masks[index] for index in chosen]
        features = self.store.features(example)
        prompts = [_jittered(box, settings.box_jitter_share, rng) for box in _prompts(masks, example.view)]
        logits, qualities = draw(self.sam, features, prompts)
        truth = np.stack([_scaled(_shown(mask, example.view), features.scaled_hw_px) for mask in masks])
        wanted = torch.from_numpy(truth).to(logits.device)
        reached = float(overlaps(logits.detach(), wanted).mean())
        return loss_parts(logits, qualities, wanted, settings), reached


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
    if not teach(run, listener, resume=resume):
        return False
    _publish(run)
    return True


def prepare_run(
    sam: Sam,
    train: Sequence[MaskExample],
    val: Sequence[MaskExample],
    settings: SamFinetuneSettings,
    folder: RunFolder,
) -> SamRun:
    """Build a run that stands at its beginning."""
    fingerprint = fingerprint_of(sam.model)
    sam.model.requires_grad_(False)
    sam.model.mask_decoder.requires_grad_(True)
    weights = {name: w for name, w in sam.model.named_parameters() if w.requires_grad}
    steps = len(_starts(train, settings)) * settings.epochs
    return SamRun(
        settings=settings,
        folder=folder,
        model=sam.model,
        weights=weights,
        fingerprint=fingerprint,
        data_digest=hashlib.sha256(f"{digest_of(train)} {digest_of(val)}".encode()).hexdigest(),
        optimizer=adam_w(weights, settings),
        schedule=Schedule(
            peak=settings.learning_rate,
            final_share=settings.final_learning_rate_share,
            warmup_steps=settings.warmup_share * steps,
            total_steps=steps,
            time_limit_s=None,
        ),
        watch=DivergenceWatch(rise=math.inf, patience=1),
        sam=sam,
        train=tuple(train),
        val=tuple(val),
        store=FeatureStore(sam, settings.cache_mb * 2**20),
    )


def full_box_overlap(examples: Sequence[MaskExample]) -> float:
    """Return what the trivial answer reaches, a mask that fills its box."""
    return float(np.mean([mask.mask.mean() for example in examples for mask in example.masks]))


def _starts(examples: Sequence[Any], settings: SamFinetuneSettings) -> range:
    """Return where, in the order of an epoch, each step begins."""
    return range(0, len(examples), settings.batch)


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


def _publish(run: SamRun) -> None:
    """Write `model/` and the last word on it."""
    run.load_best()
    metrics = {
        "before": _first_overlap(run),
        "full_box": full_box_overlap(run.val),
        "best": run.validation_overlap(),
    }
    with replacing(run.folder.path / MODEL_FOLDER) as partial:
        write_sam(run.model, run.sam.processor, partial)
    run.folder.write_json(run.folder.metrics, metrics)


def _first_overlap(run: SamRun) -> float | None:
    """Return what was measured before training; None if that file is gone."""
    try:
        value = json.loads(run.folder.metrics.read_text(encoding="utf-8"))["before"]
    except (OSError, ValueError, KeyError):
        return None
    return float(value)
