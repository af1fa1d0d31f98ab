"""Fine-tune a Florence-2: its batches, losses and validation; `finetuning.teach` has the loop."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from distill.core.precision import Precision, choose_precision
from distill.core.progress import Listener
from distill.core.run_folder import RunFolder
from distill.core.schedule import Schedule
from distill.labels.annotators.divergence import DivergenceWatch
from distill.labels.annotators.finetuning import Finetuning, Validation, adam_w, replacing, teach
from distill.labels.annotators.remarks import without_remarks
from distill.labels.florence.adapter import add_adapter, merged, save_adapter
from distill.labels.florence.curves import draw_curves
from distill.labels.florence.freezing import freeze, learning
from distill.labels.florence.grammar import TokenIds
from distill.labels.florence.loading import Teacher, write_model_folder
from distill.labels.florence.settings import FinetuneSettings
from distill.labels.florence.teaching import Classroom, loss_of, report_cut_answers
from distill.labels.florence.timetable import Exercise, Turn, epoch_batches, exercises_of
from distill.labels.florence.validation import validate
from distill.labels.sets.annotations import NOT_TRAINED_ON, AnnotatedImage, LabelSet
from edge.core.errors import DatasetError
from edge.core.taxonomy import Taxonomy

logger = logging.getLogger(__name__)

CURVES, MODEL_FOLDER, ADAPTER_FOLDER = "curves.png", "model", "adapter"

SHOWN = {"loss": "loss", "val_loss": "validation", "map50": "mAP50", "map50_95": "mAP50-95"}
"""What the line of an epoch says of its row of the history."""

_STEPS_PER_SEED = 1_000_003
"""More than any run has, and prime: no two seeds share the chance of a step."""


@dataclass(frozen=True, kw_only=True)
class TeacherRun(Finetuning):
    """Hold everything that fine-tuning a teacher works with."""

    kind = "Florence-2"
    settings_kind = FinetuneSettings

    settings: FinetuneSettings
    teacher: Teacher
    train: Classroom
    val: Classroom
    exercises: tuple[Exercise, ...]
    locations: Tensor
    precision: Precision

    def steps(self) -> list[list[list[Turn]]]:
        """Return the batches of each step of this epoch."""
        return _steps(self.exercises, self.settings, self.progress.epoch)

    def learn(self, step: Sequence[Sequence[Turn]]) -> tuple[str, float] | None:
        """Add the gradients of some batches."""
        torch.manual_seed(self.settings.seed * _STEPS_PER_SEED + self.progress.step)
        losses = [loss for turns in step if (loss := self._backward(turns, len(step))) is not None]
        if not losses:
            return None
        kind, mean = _kind(step), sum(losses) / len(losses)
        self.progress.count(kind, mean)
        return kind, mean

    def validated(self) -> Validation:
        """Validate if this epoch is one to be validated."""
        done = self.progress.epoch + 1
        is_last = done == self.settings.epochs or self.schedule.is_over(self.progress.elapsed_s)
        if not is_last and done % self.settings.validate_every_epochs:
            return Validation(None, dict.fromkeys(("val_loss", "map50", "map50_95", "ap50")))
        return validate(self.val, self.settings, self.locations, self.precision)

    def losses(self) -> dict[str, Any]:
        """Return the mean loss, and that of each task."""
        sums = self.progress.losses
        count = sum(number for _, number in sums.values())
        return {
            "loss": sum(total for total, _ in sums.values()) / count if count else None,
            **{f"loss_{kind}": total / number for kind, (total, number) in sums.items()},
            "examples": len(self.exercises),
            "unreadable": len(self.train.unreadable),
        }

    def drawn(self) -> None:
        """Draw loss and precision over the epochs."""
        draw_curves(self.folder.read_history(), self.folder.path / CURVES)

    def _backward(self, turns: Sequence[Turn], batches: int) -> float | None:
        """Add the gradients of one of so many batches; None if none of its images can be read."""
        tensors = self.train.tensors(turns)
        if tensors is None:
            return None
        with self.precision.autocast():
            loss = loss_of(self.model, tensors, self.locations, self.settings.location_sigma_bins)
        (loss / batches).backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())


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
    run = _prepared_run(teacher, label_set, taxonomy, settings, folder)
    if not teach(run, listener, resume=resume):
        return False
    _publish(run)
    return True


def _prepared_run(
    teacher: Teacher,
    label_set: LabelSet,
    taxonomy: Taxonomy,
    settings: FinetuneSettings,
    folder: RunFolder,
) -> TeacherRun:
    """Build a run that stands at its beginning."""
    train, val = (_split(label_set, name) for name in ("train", "val"))
    taught = _prepared(teacher, settings)
    rooms = [
        Classroom(taught, label_set.root, images, taxonomy, settings.max_new_tokens, set())
        for images in (train, val[: settings.validation_pictures])
    ]
    exercises = exercises_of(train, taxonomy, settings.tasks)
    if not exercises:
        raise DatasetError(
            f"The labels in {label_set.root} give no example for {', '.join(settings.tasks)}.",
            "Choose tasks that these labels suffice for: outlines are needed for segmentation.",
        )
    if not any(image.regions for image in train):
        raise DatasetError(
            f"The images in the split 'train' of {label_set.root} show no defect.",
            "A teacher needs defects that somebody has marked; see `loomsight labels stats`.",
        )
    report_cut_answers(rooms[0], settings.tasks)
    weights, total = learning(taught.model), settings.epochs * len(_steps(exercises, settings, epoch=0))
    return TeacherRun(
        settings=settings,
        folder=folder,
        model=taught.model,
        weights=weights,
        fingerprint=taught.base_fingerprint,
        data_digest=hashlib.sha256(repr((train, val)).encode()).hexdigest(),
        optimizer=adam_w(weights, settings),
        schedule=Schedule(
            peak=settings.learning_rate,
            final_share=settings.final_learning_rate_share,
            warmup_steps=settings.warmup_share * total,
            total_steps=total,
            time_limit_s=settings.time_limit_min * 60 if settings.time_limit_min else None,
        ),
        watch=DivergenceWatch(settings.divergence_rise, settings.divergence_patience_steps),
        teacher=taught,
        train=rooms[0],
        val=rooms[1],
        exercises=exercises,
        locations=torch.tensor(TokenIds.of(teacher.processor.tokenizer).locations, device=teacher.device),
        precision=_precision(settings, teacher.device),
    )


def _publish(run: TeacherRun) -> None:
    """Write `adapter/`, if adapters were trained, and `model/`: the best weights, adapters merged."""
    if run.folder.best.is_file():
        run.load_best()
    model, path, teacher = run.model.eval(), run.folder.path, run.teacher
    if run.settings.lora:
        with replacing(path / ADAPTER_FOLDER) as partial:
            save_adapter(model, partial, teacher.base_fingerprint, teacher.source)
    with replacing(path / MODEL_FOLDER) as partial:
        write_model_folder(merged(model), teacher.processor, partial)
    logger.info("the best teacher is in %s", path / MODEL_FOLDER)


def _split(label_set: LabelSet, name: str) -> tuple[AnnotatedImage, ...]:
    """Return the images of a split with what is true of them; what waits for a person is no example."""
    images = tuple(
        replace(image, regions=tuple(r for r in image.regions if r.review not in NOT_TRAINED_ON))
        for image in label_set.images
        if image.split == name and all(region.review != "queued" for region in image.regions)
    )
    if not images:
        raise DatasetError(
            f"The set in {label_set.root} has no images in the split '{name}'.",
            "Split it first: `loomsight labels split`.",
        )
    return images


def _prepared(teacher: Teacher, settings: FinetuneSettings) -> Teacher:
    """Put adapters on, and freeze what is not to learn."""
    torch.manual_seed(settings.seed)
    if settings.gradient_checkpointing:
        with without_remarks():
            teacher.model.gradient_checkpointing_enable({"use_reentrant": False})
    model = add_adapter(teacher.model, settings.lora) if settings.lora else teacher.model
    freeze(model, settings)
    return replace(teacher, model=model)


def _steps(exercises: Sequence[Exercise], settings: FinetuneSettings, epoch: int) -> list[list[list[Turn]]]:
    """Put batches of an epoch together whose gradients make one step."""
    batches, count = epoch_batches(exercises, settings, epoch), settings.accumulate
    return [batches[start : start + count] for start in range(0, len(batches), count)]


def _kind(batches: Sequence[Sequence[Turn]]) -> str:
    """Name the task of a step; `mixed` if it has several."""
    tasks = {turn.exercise.task for turns in batches for turn in turns}
    return tasks.pop() if len(tasks) == 1 else "mixed"


def _precision(settings: FinetuneSettings, device: torch.device) -> Precision:
    """Pick the arithmetic; on a GPU bf16, whose gradients need no scaling."""
    if settings.precision == "auto" and device.type == "cuda":
        return Precision("bf16", device.type)
    return choose_precision(settings.precision, device)
