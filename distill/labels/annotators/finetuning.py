"""Fine-tune a large model: one loop for all of them, to be read from top to bottom.

All chance is a function of the seed, the epoch and the step, so a run that was interrupted goes on exactly
as if it had not been: `last.pt` needs no state of a random generator.
"""

from __future__ import annotations

import math
import shutil
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import BaseModel
from safetensors import SafetensorError
from torch import Tensor, nn

from distill.core.progress import Listener
from distill.core.run_folder import RunFolder
from distill.core.schedule import Schedule
from distill.labels.annotators.divergence import DivergenceWatch
from distill.labels.annotators.run_state import Progress, read_state, write_state
from edge.core.errors import CheckpointError, ConfigError, DatasetError, OutputError, TrainingError
from edge.process.interruption import stopped_by_signals


@dataclass(frozen=True, slots=True)
class Validation:
    """Say how good a model is after an epoch.

    Attributes:
        rank: the better epoch has the greater one; None if this one was not validated.
        values: for its row of the history.
    """

    rank: tuple[float, float] | None
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Finetuning(ABC):
    """Hold a fine-tuning in memory, write it to `last.pt` and read it back.

    A subclass has what is particular to its model.

    Attributes:
        kind: of model; it stands in the states of a run, so that one of another model is not taken up.
        settings: with epochs, learning_rate and gradient_norm_limit.
        weights: of the model, those that learn.
        fingerprint: of the model before it.
        data_digest: of the labels.
    """

    kind: ClassVar[str]
    settings_kind: ClassVar[type[BaseModel]]

    settings: Any
    folder: RunFolder
    model: Any
    weights: dict[str, nn.Parameter]
    fingerprint: str
    data_digest: str
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    watch: DivergenceWatch
    progress: Progress = field(default_factory=Progress)

    def begin(self) -> None:  # noqa: B027
        """Do what a new run needs before its first step."""

    @abstractmethod
    def steps(self) -> Sequence[Any]:
        """Return what each step of this epoch is learnt from."""

    @abstractmethod
    def learn(self, step: Any) -> tuple[str, float] | None:
        """Add the gradients of a step, and count its losses.

        Returns:
            What was learnt and the mean loss; None if nothing of it can be read.
        """

    @abstractmethod
    def validated(self) -> Validation:
        """Say how good the model is at the end of this epoch."""

    @abstractmethod
    def losses(self) -> dict[str, Any]:
        """Return the losses of this epoch for its row of the history."""

    def drawn(self) -> None:  # noqa: B027
        """Draw how it goes, once the history has a row more."""

    def save_last(self) -> None:
        """Write `last.pt`, from which the run can go on."""
        content = {
            **self._content(),
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
            "watch": self.watch.state(),
            "settings": self.settings.model_dump_json(),
            "data_digest": self.data_digest,
        }
        write_state(self.folder.last, content)

    def save_best(self) -> None:
        """Write `best.pt`: the weights that learn, as they are now."""
        write_state(self.folder.best, self._content())

    def load_best(self) -> None:
        """Put the weights of `best.pt` into the model.

        Raises:
            CheckpointError: if it is missing or damaged.
        """
        self._put(self._read(self.folder.best)["weights"])

    @classmethod
    def settings_in(cls, folder: RunFolder) -> Any:
        """Return the settings that a run was started with.

        Raises:
            CheckpointError: if there is no run of such a model, or its `last.pt` is damaged.
        """
        folder.open_existing()
        return cls.settings_kind.model_validate_json(cls._read(folder.last)["settings"])

    def restore(self) -> None:
        """Take up fine-tuning where `last.pt` left it.

        Raises:
            CheckpointError: if it is missing, damaged, or of another model.
            ConfigError: if the run was started with other settings.
            DatasetError: if it was started with other labels.
        """
        last = self.folder.last
        saved = self._read(last)
        if saved["fingerprint"] != self.fingerprint:
            raise CheckpointError(
                f"{last} was started from another model.", "Name that one, or start a new run."
            )
        if self.settings_kind.model_validate_json(saved["settings"]) != self.settings:
            raise ConfigError(
                f"The run in {last.parent} was started with other settings.", "A resumed run keeps its own."
            )
        if saved["data_digest"] != self.data_digest:
            raise DatasetError(
                "The labels are not those this run was started with.", "Restore them, or start a new run."
            )
        self._put(saved["weights"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.watch.restore(saved["watch"])
        for name, value in saved["progress"].items():
            setattr(self.progress, name, tuple(value) if name == "best" and value else value)

    def _content(self) -> dict[str, Any]:
        weights = {name: weight.detach().cpu().clone() for name, weight in self.weights.items()}
        return {"kind": self.kind, "weights": weights, "fingerprint": self.fingerprint}

    @classmethod
    def _read(cls, path: Path) -> dict[str, Any]:
        saved = read_state(path)
        if saved.get("kind") != cls.kind:
            raise CheckpointError(
                f"{path} is not of the fine-tuning of a {cls.kind}.", "Name the folder of one."
            )
        return saved

    @torch.no_grad()
    def _put(self, saved: dict[str, Tensor]) -> None:
        if saved.keys() != self.weights.keys():
            raise CheckpointError("The saved weights are not those that learn here.", "Start a new run.")
        for name, weight in self.weights.items():
            weight.copy_(saved[name].to(weight.device))


def teach(run: Finetuning, listener: Listener, *, resume: bool) -> bool:
    """Teach until all epochs are done or the time is up; `best.pt` is then the best of them.

    Returns:
        False if a signal stopped it: it can be resumed.
    Raises:
        TrainingError: if the loss diverges; best.pt and last.pt are from before it began.
        CheckpointError, ConfigError, DatasetError: as `Finetuning.restore`.
    """
    if resume:
        run.restore()
    else:
        run.begin()
    progress = run.progress
    run.folder.keep_history_before(progress.epoch)
    stop = threading.Event()
    with stopped_by_signals(stop):
        while progress.epoch < run.settings.epochs and not run.schedule.is_over(progress.elapsed_s):
            started, before_s = time.monotonic(), progress.elapsed_s
            if not _teach_epoch(run, listener, stop):
                run.save_last()
                return False
            progress.elapsed_s = before_s + time.monotonic() - started
            validation, seconds = run.validated(), time.monotonic() - started
            progress.elapsed_s = before_s + seconds
            listener.epoch_done(_close_epoch(run, validation, seconds))
    return True


def adam_w(weights: Mapping[str, nn.Parameter], settings: Any) -> torch.optim.Optimizer:
    """Build AdamW; biases and the scales of normalisation are not decayed.

    Args:
        settings: with weight_decay and learning_rate.
    """
    groups = [
        {"params": [w for w in weights.values() if w.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [w for w in weights.values() if w.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=settings.learning_rate)


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of another once it is whole.

    Raises:
        OutputError: if it cannot be written; the other one then stays.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except (OSError, SafetensorError) as error:  # safetensors says of a full disk what it likes
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"Cannot write {folder}: {reason}.", "Check the path and the free space."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _teach_epoch(run: Finetuning, listener: Listener, stop: threading.Event) -> bool:
    """Teach the rest of an epoch; return False if a stop was asked for before its end."""
    progress, started, before_s = run.progress, time.monotonic(), run.progress.elapsed_s
    steps = run.steps()
    run.model.train()
    for step in steps[progress.batch :]:
        elapsed_s = before_s + time.monotonic() - started
        loss = _step(run, step, elapsed_s)
        progress.batch, progress.step = progress.batch + 1, progress.step + 1
        listener.batch_done(progress.epoch, progress.batch, len(steps), loss)
        if run.schedule.is_over(elapsed_s):
            break
        if stop.is_set():
            progress.elapsed_s = elapsed_s
            return False
    return True


def _step(run: Finetuning, step: Any, elapsed_s: float) -> float:
    """Learn from some examples and return their mean loss; nan if none of them can be read."""
    for group in run.optimizer.param_groups:
        group["lr"] = run.schedule.learning_rate(run.progress.step, elapsed_s)
    run.optimizer.zero_grad(set_to_none=True)
    learnt = run.learn(step)
    if learnt is None:
        return float("nan")
    kind, loss = learnt
    began = run.watch.see(kind, run.progress.step, loss)
    if began is not None:
        raise _diverged(run, kind, loss, began)
    nn.utils.clip_grad_norm_(run.weights.values(), run.settings.gradient_norm_limit)
    run.optimizer.step()
    return loss


def _diverged(run: Finetuning, kind: str, loss: float, began: int) -> TrainingError:
    now = run.progress.step
    problem = f"diverges since step {began + 1} (now step {now + 1}, loss {loss:.2f})"
    if began == now and not math.isfinite(loss):
        problem = f"is not finite at step {now + 1}"
    return TrainingError(
        f"The loss of {kind} {problem}.",
        f"Lower learning_rate (now {run.settings.learning_rate}); the checkpoints in {run.folder.path} "
        "are from before it.",
    )


def _close_epoch(run: Finetuning, validation: Validation, seconds: float) -> dict[str, Any]:
    """Keep what the epoch gave: history, curves, best, last, in this order."""
    progress = run.progress
    row = {
        "epoch": progress.epoch,
        "steps": progress.step,
        **run.losses(),
        **validation.values,
        "learning_rate": run.optimizer.param_groups[0]["lr"],
        "seconds": round(seconds, 2),
    }
    is_best = validation.rank is not None and (progress.best is None or validation.rank > progress.best)
    if is_best:
        progress.best = validation.rank
    progress.epoch, progress.batch, progress.losses = progress.epoch + 1, 0, {}
    run.folder.append_history(row)
    if validation.rank is not None:
        run.drawn()
    # While a loss is rising, the weights may be on their way out: the state from before it stays.
    if not run.watch.is_rising:
        if is_best:
            run.save_best()
        run.save_last()
    return row
