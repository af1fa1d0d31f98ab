"""Start the training of a detector for a taught article in the background, and describe that job.

The clean cloth that was taught lies as images in a folder beside the article file, with the job; a process
of its own (`edge.teach.training`) goes on from there, however often it is ended and started again.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import cv2
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.bundle.opening import demo_bundle_path
from edge.cameras.choose import choose_camera
from edge.config.alarm_budget import Budget, Unit
from edge.config.edge import EdgeConfig
from edge.core.contract import Letterbox
from edge.core.errors import ConfigError, DatasetError, LoomsightError, OutputError
from edge.core.files import write_whole
from edge.core.outside_files import SETTINGS_BYTES, read_bytes
from edge.core.publishing import new_folder
from edge.process.packages import missing_package
from edge.simulator.options import MIN_CLOTH_PX
from edge.sinks.locks import lock_handed_on
from edge.teach.article_file import ArticleManifest, SheetPlace
from edge.teach.keeping import Keeper
from edge.teach.learning import CleanCloth
from edge.teach.teaching import TeachRequest

logger = logging.getLogger(__name__)

WORKBENCH: Final = ("torch", "ultralytics", "onnx")
"""What the workbench has and a device lacks; looked for by name, and never imported here."""

TILE_PX: Final = 256
"""Side of the images that defects are planted in: that of the shipped detector's tiles."""

LEAST_IMAGES: Final = 6
"""Of clean cloth: half of them are planted in, and train, val and test are to show different ones."""

PROGRAM: Final = "from edge.teach.training import main; main()"


class TrainingJob(BaseModel):
    """Say what is to be trained; stands in `job.json`.

    Attributes:
        article: its name.
        article_file: that was taught; it stays as it is.
        false_alarms, per: the promise.
        metres, frames: limits of the reading.
        struck_out: places that a person left out.
        config: settings that it was taught under.
        is_live: whether its camera shows other cloth each time: then the saved images are taught again.
        mm_per_px: scale of the saved images; None if not known.
        images: to plant defects in.
        epochs: to train.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    article: str
    article_file: Path
    false_alarms: float = Field(gt=0)
    per: Unit
    metres: float | None = None
    frames: int | None = None
    struck_out: tuple[SheetPlace, ...] = ()
    config: dict[str, Any]
    is_live: bool = False
    mm_per_px: float | None = None
    images: int = Field(600, ge=30, le=100_000)
    epochs: int = Field(6, ge=1, le=1000)

    @property
    def budget(self) -> Budget:
        """The promise."""
        return Budget(self.false_alarms, self.per)

    @property
    def settings(self) -> EdgeConfig:
        """The settings that it was taught under."""
        return EdgeConfig.model_validate(self.config)


@dataclass(frozen=True, slots=True)
class TrainingFolder:
    """Name what lies in the folder of a training.

    job.json is what is asked for, clean/ the cloth that was taught, sown/ the half of it that defects are
    planted in, planted/ the data set with them, train/ the run of `distill`, bundle/ what it gave, article/
    the article file that goes with it, result.json which of the two is better, log.txt what was said.
    """

    path: Path

    @classmethod
    def beside(cls, article_file: Path) -> TrainingFolder:
        """Return the folder of an article file's training."""
        return cls(article_file.with_name(f"{article_file.name}.training"))

    def __getattr__(self, name: str) -> Path:
        files = {"job": "job.json", "recipe": "recipe.toml", "result": "result.json", "log": "log.txt"}
        if name in files:
            return self.path / files[name]
        if name in ("clean", "sown", "planted", "train", "bundle", "article"):
            return self.path / name
        raise AttributeError(name)

    def read_job(self) -> TrainingJob:
        """Read what is to be done.

        Raises:
            ConfigError: if there is no job, or it is damaged.
        """
        cure = "Start it with `loomsight teach --train`, without --resume."
        if not self.job.is_file():
            raise ConfigError(f"There is no training in {self.path}.", cure)
        try:
            return TrainingJob.model_validate_json(read_bytes(self.job, SETTINGS_BYTES, ConfigError, cure))
        except ValidationError as error:
            raise ConfigError(f"{self.job} is damaged: {error.errors()[0]['msg']}.", cure) from error


def check_can_train(folder: TrainingFolder, config: EdgeConfig) -> None:
    """See that a training can be started, before the cloth is read.

    Raises:
        MissingPackageError: if the workbench is not installed here.
        ConfigError: if another detector than the shipped one is to be trained.
        OutputError: if a training is there already.
    """
    for module in WORKBENCH:
        if find_spec(module) is None:
            raise missing_package(ModuleNotFoundError(f"No module named '{module}'", name=module))
    if config.model is not None and config.model.resolve() != demo_bundle_path().resolve():
        raise ConfigError(
            "--train goes on from the shipped detector, and --model names another one.",
            "Leave --model out; or train from its checkpoint: `loomsight simulate --on`, then `distill`.",
        )
    if folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir())):
        raise OutputError(
            f"{folder.path} holds a training already.", "Go on with it by --resume, or delete it first."
        )


def save_clean(folder: TrainingFolder, cloth: CleanCloth, keeper: Keeper) -> int:
    """Save the cloth that was taught as images, each line once, without what was struck out.

    Raises:
        DatasetError: if there are too few.
        OutputError: if they cannot be written.
    """
    struck = {(place.source, place.frame_id) for place in keeper.struck_out}
    count = 0
    with new_folder(folder.clean) as staged:
        for strip in cloth.strips:
            view = keeper.spool.view(strip.number)
            image = view.image[round(strip.carried_lines * view.scale) :]
            if (strip.source, strip.frame_id) in struck or min(image.shape[:2]) < MIN_CLOTH_PX + 32:
                continue
            (staged / f"{count:06d}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
            count += 1
        if count < LEAST_IMAGES:
            raise DatasetError(
                f"{count} images of clean cloth are too few to plant defects in.",
                f"Teach on {LEAST_IMAGES} strips or more of {MIN_CLOTH_PX + 32} lines, or without --train.",
            )
    return count


class TrainingStart:
    """Keep what a training needs while an article is taught, and start it afterwards.

    Args:
        folder: of the training.
        images, epochs: see `TrainingJob`.
    """

    def __init__(self, folder: TrainingFolder, images: int, epochs: int) -> None:
        self._folder, self._images, self._epochs = folder, images, epochs
        self._mm_per_px: float | None = None
        self._problem: LoomsightError | None = None

    def keep(self, cloth: CleanCloth, keeper: Keeper) -> None:
        """Save the clean cloth; what fails is raised by `begin`, as the article has been taught by then."""
        is_tiled = not isinstance(keeper.contract.geometry, Letterbox)
        self._mm_per_px = keeper.mm_per_px or (keeper.contract.mm_per_px if is_tiled else None)
        try:
            save_clean(self._folder, cloth, keeper)
        except LoomsightError as error:
            self._problem = error

    def begin(self, config: EdgeConfig, request: TeachRequest, manifest: ArticleManifest) -> int:
        """Start the training of what was taught; see `start`.

        Raises:
            LoomsightError: if the clean cloth could not be kept.
        """
        if self._problem is not None:
            raise self._problem
        camera = choose_camera(config.camera, config.mm_per_px, config.bit_depth)
        job = TrainingJob(
            article=request.article,
            article_file=request.out.absolute(),
            false_alarms=request.budget.false_alarms,
            per=request.budget.per,
            metres=request.limits.metres,
            frames=request.limits.frames,
            struck_out=manifest.struck_out,
            config=config.model_dump(mode="json"),
            is_live=camera.is_live,
            mm_per_px=self._mm_per_px,
            images=self._images,
            epochs=self._epochs,
        )
        return start(self._folder, job)


def start(folder: TrainingFolder, job: TrainingJob | None = None) -> int:
    """Start a training in a process of its own, which outlives this one and gives way to all others.

    Args:
        job: of a new training; None goes on with the one that is there.
    Returns:
        The id of the process.
    Raises:
        OutputError: if it runs already, or the folder cannot be written.
        ConfigError: if there is none to go on with.
    """
    if job is None:
        folder.read_job()
    with lock_handed_on(folder.path) as lock:
        if job is not None:
            write_whole(folder.job, job.model_dump_json(indent=1).encode() + b"\n")
        try:
            return _started(folder, lock)
        except OSError as error:
            raise OutputError(
                f"Cannot start the training: {error.strerror or error}.", "Check the folder of --out."
            ) from error


def _started(folder: TrainingFolder, lock: int) -> int:
    with folder.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder.path), str(lock)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(lock,),
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
        )
    return process.pid
