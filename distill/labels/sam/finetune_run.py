"""Hold a fine-tuning of a mask decoder in memory, write it to `last.pt` and read it back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from distill.core.run_folder import RunFolder
from distill.core.schedule import Schedule
from distill.labels.annotators.model_source import fingerprint_of
from distill.labels.annotators.run_state import Progress, read_state, write_state
from distill.labels.annotators.same_run import RunOrigin, check_same_run
from distill.labels.sam.drawing import Features, features_of
from distill.labels.sam.examples import MaskExample, digest_of
from distill.labels.sam.loading import Sam
from distill.labels.sam.settings import SamFinetuneSettings
from distill.labels.sets.image_files import decoded
from edge.core.errors import CheckpointError, DatasetError

KIND = "sam"
"""Written into the states of a run, so that one of another model is not taken up."""


@dataclass
class FeatureStore:
    """Keep what the frozen half makes of windows, in half precision, up to a limit.

    Attributes:
        sam: whose vision half it is.
        free_bytes: left of the limit.
    """

    sam: Sam
    free_bytes: int
    _kept: dict[tuple[str, object], Features] = field(default_factory=dict)

    def features(self, example: MaskExample) -> Features:
        """Return the features of a window, computed once as long as there is room.

        Raises:
            DatasetError: if the image cannot be read, or is smaller than its labels say.
        """
        key = (str(example.file), example.view)
        if key in self._kept:
            return self._kept[key]
        view = example.view
        image = decoded(example.file)
        if image.shape[0] < view.bottom_px or image.shape[1] < view.right_px:
            raise DatasetError(f"{example.file} is smaller than its labels say.", "Correct its size there.")
        made = features_of(self.sam, image[view.top_px : view.bottom_px, view.left_px : view.right_px])
        half = made.values.to("cpu", torch.float16)
        made = Features(half, made.size_hw_px, made.scaled_hw_px)
        if half.nbytes <= self.free_bytes:
            self.free_bytes -= half.nbytes
            self._kept[key] = made
        return made


@dataclass(frozen=True)
class SamRun:
    """Hold everything that fine-tuning works with."""

    settings: SamFinetuneSettings
    folder: RunFolder
    sam: Sam
    weights: dict[str, nn.Parameter]
    train: tuple[MaskExample, ...]
    val: tuple[MaskExample, ...]
    store: FeatureStore
    fingerprint: str
    data_digest: str
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    progress: Progress


def prepare_run(
    sam: Sam,
    train: Sequence[MaskExample],
    val: Sequence[MaskExample],
    settings: SamFinetuneSettings,
    folder: RunFolder,
) -> SamRun:
    """Build a run that stands at its beginning; of the model only the mask decoder learns."""
    fingerprint = fingerprint_of(sam.model)
    sam.model.requires_grad_(False)
    sam.model.mask_decoder.requires_grad_(True)
    weights = {name: w for name, w in sam.model.named_parameters() if w.requires_grad}
    steps = len(batches_of(train, settings)) * settings.epochs
    return SamRun(
        settings=settings,
        folder=folder,
        sam=sam,
        weights=weights,
        train=tuple(train),
        val=tuple(val),
        store=FeatureStore(sam, settings.cache_mb * 2**20),
        fingerprint=fingerprint,
        data_digest=hashlib.sha256(f"{digest_of(train)} {digest_of(val)}".encode()).hexdigest(),
        optimizer=_optimizer(weights, settings),
        schedule=Schedule(
            peak=settings.learning_rate,
            final_share=settings.final_learning_rate_share,
            warmup_steps=settings.warmup_share * steps,
            total_steps=steps,
            time_limit_s=None,
        ),
        progress=Progress(),
    )


def batches_of(examples: Sequence[MaskExample], settings: SamFinetuneSettings) -> list[range]:
    """Return the positions, in the order of an epoch, of the examples of each step."""
    starts = range(0, len(examples), settings.batch)
    return [range(start, min(start + settings.batch, len(examples))) for start in starts]


def save_last(run: SamRun) -> None:
    """Write `last.pt`, from which the run can go on."""
    content = {
        **_weights_of(run),
        "optimizer": run.optimizer.state_dict(),
        "progress": asdict(run.progress),
        "settings": run.settings.model_dump_json(),
        "data_digest": run.data_digest,
    }
    write_state(run.folder.last, content)


def save_best(run: SamRun) -> None:
    """Write `best.pt`: the mask decoder as it is now."""
    write_state(run.folder.best, _weights_of(run))


def settings_of_run(folder: RunFolder) -> SamFinetuneSettings:
    """Return the settings that a run was started with.

    Raises:
        CheckpointError: if there is no run of a SAM, or its `last.pt` is damaged.
    """
    folder.open_existing()
    return SamFinetuneSettings.model_validate_json(_read(folder.last)["settings"])


def restore_run(run: SamRun) -> None:
    """Take up fine-tuning where `last.pt` left it.

    Raises:
        CheckpointError: if it is missing, damaged, or of another model.
        ConfigError: if the run was started with other settings.
        DatasetError: if it was started with other labels.
    """
    saved = _read(run.folder.last)
    settings = SamFinetuneSettings.model_validate_json(saved["settings"])
    then = RunOrigin(saved["fingerprint"], settings, saved["data_digest"])
    now = RunOrigin(run.fingerprint, run.settings, run.data_digest)
    check_same_run(run.folder.last, then, now)
    _put(run, saved["weights"])
    run.optimizer.load_state_dict(saved["optimizer"])
    for name, value in saved["progress"].items():
        setattr(run.progress, name, tuple(value) if name == "best" and value else value)


def load_best(run: SamRun) -> None:
    """Put the weights of `best.pt` into the model.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    _put(run, _read(run.folder.best)["weights"])


def _weights_of(run: SamRun) -> dict[str, Any]:
    weights = {name: weight.detach().cpu().clone() for name, weight in run.weights.items()}
    return {"kind": KIND, "weights": weights, "fingerprint": run.fingerprint}


def _read(path: Any) -> dict[str, Any]:
    saved = read_state(path)
    if saved.get("kind") != KIND:
        raise CheckpointError(f"{path} is not of a SAM's fine-tuning.", "Name the folder of one.")
    return saved


@torch.no_grad()
def _put(run: SamRun, saved: dict[str, Tensor]) -> None:
    for name, weight in run.weights.items():
        weight.copy_(saved[name].to(weight.device))


def _optimizer(weights: dict[str, nn.Parameter], settings: SamFinetuneSettings) -> torch.optim.Optimizer:
    """Build AdamW; biases and the scales of normalisation are not decayed."""
    groups = [
        {"params": [w for w in weights.values() if w.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [w for w in weights.values() if w.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate)
