"""Create and resume the folder of a training run, and name the files in it."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.core.errors import CheckpointError, ConfigError, OutputError
from edge.core.files import cannot_write, write_whole

logger = logging.getLogger(__name__)

PRUNING_NAME = "prune.json"
"""Holds the settings of a pruning: it can be resumed once they are there."""

PAGE_NAME = "index.html"
"""Shows a run, or a bundle, in a browser."""

KEEP_BEST = "Start a new run with another --out; best.pt stays as it is."


class FileBelow:
    """Name a file, or a plain folder, by its place in the folder of a run."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, folder: RunFolder, kind: type[RunFolder]) -> Path:
        return folder.path / self._name


class RunBelow:
    """Name a run that lies in the folder of another one."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, folder: RunFolder, kind: type[RunFolder]) -> RunFolder:
        return RunFolder(folder.path / self._name)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Name the files of a run.

    best.pt and last.pt are checkpoints; recipe.json is the resolved recipe, and options.json has the
    options of the command line, for the command that trains longer; history.jsonl has a row per epoch;
    metrics.json is the last word on best.pt, and index.html shows it; scorecard.jsonl has a row per stage.
    start_from.json names the checkpoint that training started from; it is missing if that was none. Under
    a teacher, stages.json says which and what else is trained, steps.jsonl has the loss parts of every
    step, instances/ has images, and teacher/ and student-alone/ are run folders of their own.
    operating_point.json says how the score thresholds were chosen and whether the detector is better than
    the one that training started from; where it is not, best.pt is the latter and tuned.pt the former.
    folds/ has a run of each part of a cross-validation, with reports.json: what it reports on its part.
    simulated/, rehearsal/ and feature-images/ are data sets of simulated cloth that the recipe asks for.
    With a sparsity, scales.png shows the scales of batch normalisation over the epochs. Where a backbone
    learns features, curve.png shows how close it came.
    """

    path: Path

    best = FileBelow("best.pt")
    last = FileBelow("last.pt")
    recipe = FileBelow("recipe.json")
    options = FileBelow("options.json")
    start_from = FileBelow("start_from.json")
    history = FileBelow("history.jsonl")
    page = FileBelow(PAGE_NAME)
    steps = FileBelow("steps.jsonl")
    scales = FileBelow("scales.png")
    curve = FileBelow("curve.png")
    stages = FileBelow("stages.json")
    instances = FileBelow("instances")
    teacher = RunBelow("teacher")
    student_alone = RunBelow("student-alone")
    pretrained = RunBelow("pretrained")
    teacher_pretrained = RunBelow("teacher-pretrained")
    feature_pretrained = RunBelow("feature-pretrained")
    teacher_feature_pretrained = RunBelow("teacher-feature-pretrained")
    simulated = FileBelow("simulated")
    rehearsal = FileBelow("rehearsal")
    feature_images = FileBelow("feature-images")
    folds = FileBelow("folds")
    reports = FileBelow("reports.json")
    operating_point = FileBelow("operating_point.json")
    tuned = FileBelow("tuned.pt")
    metrics = FileBelow("metrics.json")

    def open_new(self) -> None:
        """Make the folder for a new run, also where one failed before its first `last.pt`.

        Raises:
            ConfigError: if a run stands there already.
            OutputError: if it cannot be made.
        """
        if any(run.last.exists() for run in self._runs):
            raise ConfigError(
                f"{self.path} holds a training run already.",
                "Add --resume to go on with it, or choose another --out.",
            )
        for run in self._runs:
            if run.best.exists() and run.has_been_resumable:
                raise ConfigError(f"{run.best} is of a training whose last.pt is gone.", KEEP_BEST)
        self.open_again(self.stages)

    def open_or_go_on(self) -> bool:
        """Make the folder for a new run, unless one that was interrupted is in it; tell which."""
        if self.last.is_file():
            return True
        self.open_new()
        return False

    @property
    def _runs(self) -> tuple[RunFolder, ...]:
        """All runs that may stand in this folder."""
        return (
            self,
            self.teacher,
            self.student_alone,
            self.pretrained,
            self.teacher_pretrained,
            self.feature_pretrained,
            self.teacher_feature_pretrained,
        )

    @property
    def has_been_resumable(self) -> bool:
        """Whether there was a `last.pt` once: it is written after `best.pt`, at the end of each epoch."""
        return self.metrics.is_file() or len(self.read_history()) > 1

    @property
    def is_resumable(self) -> bool:
        """Whether there is something to go on from."""
        return any(file.is_file() for file in (*(run.last for run in self._runs), self.stages))

    def way_on(self) -> str:
        """Say what to do after an error that has nothing to do with the run itself, a full disk say."""
        how = "with --resume goes on" if self.is_resumable else "starts the run again"
        return f"Then the same command {how}."

    def open_again(self, *more: Path) -> None:
        """Make the folder for a run that has no `last.pt`, without what an earlier try left there.

        Args:
            more: files to remove, too.
        Raises:
            OutputError: if it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for file in (self.best, self.start_from, *more):
                file.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot make {self.path}: {error}.", "Choose another --out.") from error

    def open_existing(self) -> None:
        """Check that there is a run to go on with.

        Raises:
            CheckpointError: if there is none.
        """
        if not self.last.is_file():
            is_kept = self.best.exists() and self.has_been_resumable
            raise CheckpointError(
                f"There is no {self.last} to go on from.",
                KEEP_BEST if is_kept else "Leave --resume out to start a new run.",
            )

    def write_json(self, file: Path, value: object) -> None:
        """Write JSON, whole or not at all.

        Raises:
            OutputError: if it cannot be written.
        """
        write_whole(file, json.dumps(value, indent=2).encode() + b"\n")

    def keep_history_before(self, epoch: int) -> None:
        """Drop the rows of epochs that are going to be trained (again); no crash loses the others.

        Raises:
            OutputError: if it cannot be written; the history then stays as it was.
        """
        rows = [row for row in self.read_history() if row["epoch"] < epoch]
        write_whole(self.history, _lines(rows))

    def keep_steps_before(self, step: int) -> None:
        """Drop the rows of steps that are going to be done (again), as `keep_history_before` does."""
        if self.steps.is_file():
            write_whole(self.steps, _lines([row for row in _read(self.steps) if row["step"] < step]))

    def append_history(self, row: Mapping[str, Any]) -> None:
        """Add the row of an epoch.

        Raises:
            OutputError: if it cannot be written.
        """
        _append(self.history, row)

    def append_step(self, row: Mapping[str, Any]) -> None:
        """Add the row of a step, as `append_history` does."""
        _append(self.steps, row)

    def read_history(self) -> list[dict[str, Any]]:
        """Return the rows so far; a last line cut short by a crash is left out."""
        return _read(self.history)


@contextmanager
def way_on_said(way_on: Callable[[], str]) -> Iterator[None]:
    """Add to an error of writing how the work goes on once its cause is gone.

    Args:
        way_on: says so, when it has happened.
    Raises:
        OutputError: with that in its cure.
    """
    try:
        yield
    except OutputError as error:
        raise OutputError(error.problem, f"{error.cure} {way_on()}") from error


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make a folder and keep other processes out of it; the lock ends with the process.

    A folder that was made here and is still empty at the end is removed again.

    Raises:
        ConfigError: if another process works in it.
        OutputError: if it cannot be made.
    """
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise OutputError(f"Cannot make {folder}: {error}.", "Choose another --out.") from error
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)
        if is_new:
            with suppress(OSError):
                folder.rmdir()


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(
            f"Another process is at work in {folder}.", "Wait until it has ended, or choose another --out."
        ) from error
    except OSError as error:
        logger.warning("%s cannot be locked: %s", folder, error.strerror or error)


def _lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _append(file: Path, row: Mapping[str, Any]) -> None:
    try:
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
    except OSError as error:
        raise cannot_write(file, error) from error


def _read(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of JSON lines, up to the first that is damaged."""
    if not file.is_file():
        return []
    rows = []
    for line in file.read_bytes().splitlines():
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError):
            break
    return rows
