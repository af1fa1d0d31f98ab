"""Run `loomsight teach`: teach an article, and train for it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.commands.flags import (
    BackendFlag,
    BatchFlag,
    CameraFlag,
    ClothFlag,
    ConfigFlag,
    MmPerPxFlag,
    ModelFlag,
    OnlyFlag,
    PrecisionFlag,
    ThreadsFlag,
    VerboseFlag,
)
from edge.core.errors import ConfigError
from edge.process.console import command_app, configure_logging
from edge.process.terminal import echo

if TYPE_CHECKING:
    from edge.config.alarm_budget import Budget
    from edge.teach.teaching import TaughtArticle
    from edge.teach.training_job import TrainingFolder

app = command_app()

PROGRESS_S = 10.0
"""A line about how far the teaching is comes no more often."""


@app.command()
def teach(
    article: Annotated[str, typer.Option(help="Name of the article.")],
    out: Annotated[Path, typer.Option(help="Folder to write: the article file.")],
    more: Annotated[
        list[int] | None, typer.Argument(metavar="NUMBER", help="Further numbers for --leave-out.")
    ] = None,
    camera: CameraFlag = None,
    model: ModelFlag = None,
    config: ConfigFlag = None,
    only: OnlyFlag = None,
    false_alarms_per_100m: Annotated[
        float | None, typer.Option(help="Promise: at most so many per 100 m of cloth.")
    ] = None,
    false_alarms_per_m2: Annotated[float | None, typer.Option(help="Or so many per square metre.")] = None,
    false_alarms_per_image: Annotated[
        float | None, typer.Option(help="Or so many per image, where no scale is known.")
    ] = None,
    metres: Annotated[
        float | None, typer.Option(help="Read so much clean cloth  [default: all; 30 of a live camera]")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Read so many frames or strips.")] = None,
    leave_out: Annotated[
        list[int] | None,
        typer.Option(help="Numbers on the contact sheet of --out that show defects, e.g. 3 5."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the article file at --out.")
    ] = False,
    train: Annotated[
        bool, typer.Option("--train", help="Then train the detector on defects planted in this cloth.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with that training, or say what came of it.")
    ] = False,
    train_images: Annotated[
        int, typer.Option(min=30, max=100_000, help="Images to plant defects in.")
    ] = 600,
    train_epochs: Annotated[int, typer.Option(min=1, max=1000, help="How often to go through them.")] = 6,
    mm_per_px: MmPerPxFlag = None,
    cloth: ClothFlag = None,
    batch_tiles: BatchFlag = None,
    backend: BackendFlag = None,
    precision: PrecisionFlag = None,
    threads: ThreadsFlag = None,
    verbose: VerboseFlag = False,
) -> None:
    """Learn an article from clean cloth, and set the thresholds for a promised rate of false alarms.

    Fits on one half of the cloth and calibrates on the other, in turn; prints the promise and what was left
    out, and draws the places that came nearest to an alarm. With --train a process in the background then
    trains the detector on defects planted in the same cloth, where the workbench is installed.
    """
    configure_logging(verbose)
    if resume:
        _go_on(out, train)
        return
    from edge.config.device import config_from_process
    from edge.teach.reading import ReadingLimits
    from edge.teach.teaching import TeachRequest
    from edge.teach.teaching import teach as teach_article

    flags = {
        "camera": camera, "model": model, "article": article, "mm_per_px": mm_per_px, "cloth": cloth,
        "batch_tiles": batch_tiles, "backend": backend, "precision": precision, "threads": threads,
        "metres": metres,
    }  # fmt: skip
    budget = _budget(false_alarms_per_100m, false_alarms_per_m2, false_alarms_per_image)
    if more and not leave_out:
        raise ConfigError(f"Nothing says what {more[0]} is for.", "Write numbers behind --leave-out.")
    settings = config_from_process(config, flags, only)
    request = TeachRequest(
        article, budget, out, overwrite, ReadingLimits(metres, frames), (*(leave_out or ()), *(more or ()))
    )
    if not train:
        _print(teach_article(settings, request, TeachProgress()), out)
        return
    from edge.teach.training_job import TrainingFolder, TrainingStart, check_can_train

    folder = TrainingFolder.beside(out)
    check_can_train(folder, settings)
    training = TrainingStart(folder, train_images, train_epochs)
    taught = teach_article(settings, request, TeachProgress(), training.keep)
    _print(taught, out)
    _say_started(folder, training.begin(settings, request, taught.manifest))


def _go_on(out: Path, is_training: bool) -> None:
    """Go on with a training, or print what came of it."""
    from edge.teach.training import read_result
    from edge.teach.training_job import TrainingFolder, start

    if not is_training:
        raise ConfigError("Nothing says what is to be resumed.", "Write --train --resume.")
    folder = TrainingFolder.beside(out)
    job = folder.read_job()
    if not folder.result.is_file():
        _say_started(folder, start(folder))
        return
    for line in read_result(folder).lines(folder, job.article):
        typer.echo(line)


def _say_started(folder: TrainingFolder, number: int) -> None:
    typer.echo(f"training   process {number} in the background: {folder.log}")
    typer.echo(
        "           the same command with --train --resume goes on with it, and says what came of it"
    )


class TeachProgress:
    """Write how far the teaching is to stderr, now and then."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def __call__(self, what: str, done: int, whole: int) -> None:
        """Take in what is done, how much of it, and how much there is; 0 if that is not known."""
        now_s = time.monotonic()
        if now_s - self._last_s >= PROGRESS_S:
            self._last_s = now_s
            sys.stderr.write(f"{what}: {done}{f' of {whole}' if whole else ''} images\n")


def _budget(per_100m: float | None, per_m2: float | None, per_image: float | None) -> Budget:
    from edge.config.alarm_budget import MOST_ALARMS, Budget, Unit

    given: list[tuple[float, Unit]] = []
    if per_100m is not None:
        given.append((per_100m, "100 m"))
    if per_m2 is not None:
        given.append((per_m2, "m2"))
    if per_image is not None:
        given.append((per_image, "image"))
    if len(given) != 1:
        raise ConfigError(
            "One promise is needed: how many false alarms are permitted.",
            "Give one of --false-alarms-per-100m, --false-alarms-per-m2 and --false-alarms-per-image.",
        )
    ((alarms, per),) = given
    if not 0 < alarms <= MOST_ALARMS:
        raise ConfigError(
            f"A promise of {alarms:g} false alarms is not permitted.",
            f"Ask for more than 0 and at most {MOST_ALARMS:g}.",
        )
    return Budget(alarms, per)


def _print(taught: TaughtArticle, out: Path) -> None:
    from edge.teach.report import lines_of

    for line in lines_of(taught, out):
        echo(line)
