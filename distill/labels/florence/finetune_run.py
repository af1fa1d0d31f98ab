"""Hold a fine-tuning in memory, write it to `last.pt` and read it back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from distill.core.precision import Precision, choose_precision
from distill.core.run_folder import RunFolder
from distill.core.schedule import Schedule
from distill.labels.annotators.remarks import without_remarks
from distill.labels.annotators.run_state import Progress, read_state, write_state
from distill.labels.annotators.same_run import RunOrigin, check_same_run
from distill.labels.florence.adapter import add_adapter
from distill.labels.florence.divergence import DivergenceWatch
from distill.labels.florence.freezing import freeze, learning
from distill.labels.florence.grammar import TokenIds
from distill.labels.florence.loading import Teacher
from distill.labels.florence.settings import FinetuneSettings
from distill.labels.florence.teaching import Classroom, report_cut_answers
from distill.labels.florence.timetable import Exercise, epoch_batches, exercises_of
from distill.labels.sets.annotations import NOT_TRAINED_ON, AnnotatedImage, LabelSet
from edge.core.errors import CheckpointError, DatasetError
from edge.core.taxonomy import Taxonomy


@dataclass(frozen=True)
class FinetuneRun:
    """Hold everything that fine-tuning works with."""

    settings: FinetuneSettings
    folder: RunFolder
    taxonomy: Taxonomy
    teacher: Teacher
    weights: dict[str, nn.Parameter]
    train: Classroom
    val: Classroom
    exercises: tuple[Exercise, ...]
    locations: Tensor
    data_digest: str
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    precision: Precision
    watch: DivergenceWatch
    progress: Progress


def prepare_run(
    teacher: Teacher,
    label_set: LabelSet,
    taxonomy: Taxonomy,
    settings: FinetuneSettings,
    folder: RunFolder,
) -> FinetuneRun:
    """Build a run that stands at its beginning.

    Raises:
        ConfigError: if a target of the adapters matches nothing, or nothing is left to learn.
        DatasetError: if a split is empty or gives no example for the tasks, or a region has no label.
    """
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
    for room in rooms:
        report_cut_answers(room, settings.tasks)
    weights = learning(taught.model)
    return FinetuneRun(
        settings=settings,
        folder=folder,
        taxonomy=taxonomy,
        teacher=taught,
        weights=weights,
        train=rooms[0],
        val=rooms[1],
        exercises=exercises,
        locations=torch.tensor(TokenIds.of(teacher.processor.tokenizer).locations, device=teacher.device),
        data_digest=hashlib.sha256(repr((train, val)).encode()).hexdigest(),
        optimizer=_optimizer(weights, settings),
        schedule=_schedule(settings, exercises),
        precision=_precision(settings, teacher.device),
        watch=DivergenceWatch(settings.divergence_rise, settings.divergence_patience_steps),
        progress=Progress(),
    )


def steps_of(batches: Sequence[Any], accumulate: int) -> list[Sequence[Any]]:
    """Put batches together whose gradients make one step."""
    return [batches[start : start + accumulate] for start in range(0, len(batches), accumulate)]


def save_last(run: FinetuneRun) -> None:
    """Write `last.pt`, from which the run can go on."""
    content = {
        "weights": _copied(run.weights),
        "optimizer": run.optimizer.state_dict(),
        "progress": asdict(run.progress),
        "watch": run.watch.state(),
        "settings": run.settings.model_dump_json(),
        "data_digest": run.data_digest,
        "base_fingerprint": run.teacher.base_fingerprint,
    }
    write_state(run.folder.last, content)


def save_best(run: FinetuneRun) -> None:
    """Write `best.pt`: the weights that learn, as they are now."""
    content = {"weights": _copied(run.weights), "base_fingerprint": run.teacher.base_fingerprint}
    write_state(run.folder.best, content)


def settings_of_run(folder: RunFolder) -> FinetuneSettings:
    """Return the settings that a run was started with.

    Raises:
        CheckpointError: if there is no run, or its `last.pt` is damaged.
    """
    folder.open_existing()
    return FinetuneSettings.model_validate_json(read_state(folder.last)["settings"])


def restore_run(run: FinetuneRun) -> None:
    """Take up fine-tuning where `last.pt` left it.

    Raises:
        CheckpointError: if it is missing, damaged, or of another model.
        ConfigError: if the run was started with other settings.
        DatasetError: if it was started with other labels.
    """
    saved = read_state(run.folder.last)
    settings = FinetuneSettings.model_validate_json(saved["settings"])
    then = RunOrigin(saved["base_fingerprint"], settings, saved["data_digest"])
    now = RunOrigin(run.teacher.base_fingerprint, run.settings, run.data_digest)
    check_same_run(run.folder.last, then, now)
    load_weights(run, saved["weights"])
    run.optimizer.load_state_dict(saved["optimizer"])
    run.watch.restore(saved["watch"])
    for name, value in saved["progress"].items():
        setattr(run.progress, name, tuple(value) if name == "best" and value else value)


@torch.no_grad()
def load_weights(run: FinetuneRun, saved: dict[str, Tensor]) -> None:
    """Put saved weights into the model.

    Raises:
        CheckpointError: if they are of another structure.
    """
    if saved.keys() != run.weights.keys():
        raise CheckpointError("The saved weights are not those that learn here.", "Start a new run.")
    for name, weight in run.weights.items():
        weight.copy_(saved[name].to(weight.device))


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


def _optimizer(weights: dict[str, nn.Parameter], settings: FinetuneSettings) -> torch.optim.Optimizer:
    """Build AdamW; biases and the scales of normalisation are not decayed."""
    groups = [
        {"params": [w for w in weights.values() if w.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [w for w in weights.values() if w.ndim <= 1], "weight_decay": 0.0},
    ]
    kept = [group for group in groups if group["params"]]
    return torch.optim.AdamW(kept, lr=settings.learning_rate, betas=(0.9, 0.999))


def _schedule(settings: FinetuneSettings, exercises: Sequence[Exercise]) -> Schedule:
    batches = epoch_batches(exercises, settings, epoch=0)
    total = settings.epochs * len(steps_of(batches, settings.accumulate))
    return Schedule(
        peak=settings.learning_rate,
        final_share=settings.final_learning_rate_share,
        warmup_steps=settings.warmup_share * total,
        total_steps=total,
        time_limit_s=settings.time_limit_min * 60 if settings.time_limit_min else None,
    )


def _precision(settings: FinetuneSettings, device: torch.device) -> Precision:
    """Pick the arithmetic; on a GPU bf16, whose gradients need no scaling."""
    if settings.precision == "auto" and device.type == "cuda":
        return Precision("bf16", device.type)
    return choose_precision(settings.precision, device)


def _copied(weights: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    return {name: weight.detach().cpu().clone() for name, weight in weights.items()}
