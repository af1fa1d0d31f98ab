"""Train the detector for an article: plant defects, train, export, teach again, keep the better one.

Runs as a process of its own. Every step leaves its result under a final name, so a training that was ended
goes on where it was. Training and export are commands of the workbench, started as such.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from edge.cameras.folder import list_images
from edge.config.edge import EdgeConfig
from edge.core.counted import counted
from edge.core.errors import TrainingError
from edge.core.files import write_whole
from edge.core.geometry import Boxes
from edge.core.image_file import read_image
from edge.core.publishing import new_folder
from edge.core.taxonomy import load_taxonomy
from edge.dataset.options import DatasetOptions
from edge.dataset.writing import write_dataset
from edge.inference.inspector import Inspector
from edge.inference.model import Models
from edge.inference.single_image import inspect_single
from edge.process.commands import START
from edge.process.console import configure_logging, run_command
from edge.process.interruption import Interrupted
from edge.teach.article_file import open_article
from edge.teach.reading import ReadingLimits
from edge.teach.teaching import TeachRequest, teach
from edge.teach.training_job import TILE_PX, TrainingFolder, TrainingJob

logger = logging.getLogger(__name__)

NICENESS: Final = 15
"""Inspection and people at the same machine come first."""

SEED: Final = 9100
"""Of planted defects; far from those that the shipped detector was trained on."""

DEFECTS_PER_M: Final = 25.0

RECIPE: Final = """# From the shipped detector to one article, on defects planted in its clean cloth
scale = "n"
input_size_hw_px = [256, 256]
{scale}epochs = {epochs}
batch = 16
learning_rate = 3e-4
ema_decay = 0.99
ema_warmup_steps = 20
empty_tile_share = 1.0
"""
"""What docs/benchmarks/planted.md was measured with."""


class PlantedCounts(BaseModel):
    """Count the planted defects that a detector finds at the thresholds from clean cloth.

    Attributes:
        planted, found: defects; one that any box touches is found.
        named: those of which a box had the right class.
        false_positives: boxes that touch none.
        images: that were looked at.
    """

    model_config = ConfigDict(frozen=True)

    planted: int
    found: int
    named: int
    false_positives: int
    images: int

    def text(self) -> str:
        """Return one line."""
        return (
            f"{self.found} of {self.planted} found, {self.named} by their class, "
            f"{counted(self.false_positives, 'false positive')} on {counted(self.images, 'image')}"
        )


class TrainingResult(BaseModel):
    """Tell which detector is better for the article; stands in `result.json`.

    Attributes:
        before, after: on the same images, which neither was trained on.
        is_better: whether the trained one finds more at no more false positives.
        thresholds_before, thresholds_after: per class, as the clean cloth set them.
    """

    model_config = ConfigDict(frozen=True)

    before: PlantedCounts
    after: PlantedCounts
    is_better: bool
    thresholds_before: dict[str, float]
    thresholds_after: dict[str, float]

    def lines(self, folder: TrainingFolder, article: str) -> Iterator[str]:
        """Yield what a person reads: both in a table, which is kept, and where it lies."""
        yield "scored on  defects planted in clean cloth that was not trained on, at the taught thresholds"
        yield f"before     {self.before.text()}"
        yield f"after      {self.after.text()}"
        for name, thresholds in (("before", self.thresholds_before), ("after", self.thresholds_after)):
            listed = ", ".join(f"{label} {value:g}" for label, value in thresholds.items())
            yield f"thresholds {listed} ({name})"
        if not self.is_better:
            yield "kept       the detector from before: the trained one does not find more at no more false"
            yield "           positives. Nothing has changed."
            return
        yield "kept       the trained detector: better than before. Name it in the settings:"
        yield f'           [articles."{article}"]'
        yield f'           model = "{folder.bundle.absolute()}"'
        yield f'           reference = "{folder.article.absolute()}"'


def train_for_article(folder: TrainingFolder, lock: int) -> TrainingResult:
    """Do what is left of a training; steps that are done are not done again.

    Args:
        lock: descriptor by which this process has held the lock of the folder since it was started; what it
            starts holds it, too, so that nobody goes on beside a command that is left over.
    Raises:
        LoomsightError: if a step fails; those before it stay.
    """
    job = folder.read_job()
    if folder.result.is_file():
        return read_result(folder)
    _plant(folder, job)
    _train(folder, job, lock)
    if not folder.bundle.is_dir():
        tuned = folder.train / "tuned.pt"
        trained = tuned if tuned.is_file() else folder.train / "best.pt"
        images, bundle = str(folder.clean), str(folder.bundle)
        _workbench(lock, "export", str(trained), "--images", images, "--out", bundle)
    if not folder.article.is_dir():
        _teach_again(folder, job)
    result = _compared(folder, job)
    write_whole(folder.result, result.model_dump_json(indent=1).encode() + b"\n")
    return result


def read_result(folder: TrainingFolder) -> TrainingResult:
    """Read what came of a training that is done.

    Raises:
        TrainingError: if it is damaged.
    """
    try:
        return TrainingResult.model_validate_json(folder.result.read_bytes())
    except (OSError, ValueError) as error:
        raise TrainingError(f"{folder.result} cannot be read.", "Delete it and use --resume.") from error


def _plant(folder: TrainingFolder, job: TrainingJob) -> None:
    """Plant defects in every other image: what was trained on says nothing of false positives elsewhere."""
    if folder.planted.is_dir():
        return
    logger.info("planting defects in %d images", job.images)
    images = list_images(folder.clean)[::2]
    if not folder.sown.is_dir():
        with new_folder(folder.sown) as staged:
            for path in images:
                shutil.copyfile(path, staged / path.name)
    sizes = [read_image(path).shape[:2] for path in images]
    height, width = (min(TILE_PX, *(size[axis] for size in sizes)) for axis in (0, 1))
    scale = {"mm_per_px": job.mm_per_px} if job.mm_per_px else {}
    options = DatasetOptions(
        on=folder.sown,
        images=job.images,
        split={"train": 0.7, "val": 0.15, "test": 0.15},
        seed=SEED,
        size_hw=(height, width),
        defects_per_m=DEFECTS_PER_M,
        **scale,
    )
    write_dataset(folder.planted, options, load_taxonomy(None))


def _train(folder: TrainingFolder, job: TrainingJob, lock: int) -> None:
    if (folder.train / "metrics.json").is_file():
        return
    arguments = [str(folder.planted), "--out", str(folder.train)]
    if (folder.train / "last.pt").is_file():
        _workbench(lock, "distill", *arguments, "--resume")
        return
    shutil.rmtree(folder.train, ignore_errors=True)  # ended before there was anything to go on from
    scale = f"mm_per_px = {job.mm_per_px}\n" if job.mm_per_px else ""
    write_whole(folder.recipe, RECIPE.format(scale=scale, epochs=job.epochs).encode())
    begin = ("--recipe", str(folder.recipe), "--start-from", "shipped")
    _workbench(lock, "distill", *arguments, *begin)


def _workbench(lock: int, command: str, *arguments: str) -> None:
    """Run a command of the workbench; it says what it does in the log.

    Raises:
        TrainingError: if it fails.
    """
    logger.info("%s", command)
    program = START.format(parent=os.getpid())
    process = subprocess.Popen(
        [sys.executable, "-c", program, command, *arguments], stdin=subprocess.DEVNULL, pass_fds=(lock,)
    )
    try:
        status = process.wait()
    except (Interrupted, KeyboardInterrupt):
        process.send_signal(signal.SIGTERM)  # it saves what it has
        process.wait()
        raise
    if status:
        raise TrainingError(
            f"{command} ended with {status}; the log says why.", "Correct it, then --resume."
        )


def _teach_again(folder: TrainingFolder, job: TrainingJob) -> None:
    """Teach the same cloth with the trained detector beside it."""
    changes: dict[str, object] = {"model": folder.bundle}
    if job.is_live:
        changes |= {"camera": str(folder.clean), "mm_per_px": job.mm_per_px}
    config = EdgeConfig.model_validate(
        {**job.config, **{k: v for k, v in changes.items() if v is not None}}
    )
    request = TeachRequest(
        job.article,
        job.budget,
        folder.article,
        limits=ReadingLimits(job.metres, job.frames),
        struck_out=() if job.is_live else job.struck_out,
        has_seen_cloth=True,
    )
    teach(config, request)


def _compared(folder: TrainingFolder, job: TrainingJob) -> TrainingResult:
    """Let both detectors look at the images that none was trained on, at the thresholds taught."""
    config = job.settings
    before, after = open_article(job.article_file).manifest, open_article(folder.article).manifest
    trained = config.model_copy(update={"model": folder.bundle})
    counts = [
        _looked(folder.planted, one, dict(manifest.score_thresholds), job.mm_per_px)
        for one, manifest in ((config, before), (trained, after))
    ]
    return TrainingResult(
        before=counts[0],
        after=counts[1],
        is_better=counts[1].found > counts[0].found
        and counts[1].false_positives <= counts[0].false_positives,
        thresholds_before=dict(before.score_thresholds),
        thresholds_after=dict(after.score_thresholds),
    )


def _looked(
    planted: Path, config: EdgeConfig, thresholds: dict[str, float], scale: float | None
) -> PlantedCounts:
    total = np.zeros(4, np.int64)
    images = list_images(planted / "images" / "test")
    with ExitStack() as stack:
        backend, contract = Models().open(config, stack)
        inspector = Inspector(backend, contract.with_thresholds(thresholds), config.batch_tiles)
        for path in images:
            image = read_image(path)
            found = inspect_single(inspector, image, scale).defects
            ground_truth, class_ids = _ground_truth(
                planted / "labels" / "test" / f"{path.stem}.txt", image.shape
            )
            touch = _touching(found.boxes_xyxy_px, ground_truth)
            right = touch & (found.class_ids[:, None] == class_ids[None])
            total += [len(ground_truth), touch.any(0).sum(), right.any(0).sum(), (~touch.any(1)).sum()]
    planted_, found_, named, false = total.tolist()
    return PlantedCounts(
        planted=planted_, found=found_, named=named, false_positives=false, images=len(images)
    )


def _ground_truth(labels: Path, shape: tuple[int, ...]) -> tuple[Boxes, np.ndarray]:
    """Read the boxes of an image that the simulator drew: class, centre, width and height as fractions."""
    rows = [[float(word) for word in row.split()] for row in labels.read_text().splitlines() if row]
    table = np.array(rows, np.float64).reshape(-1, 5)
    centres, sides = table[:, 1:3], table[:, 3:5]
    boxes = np.hstack([centres - sides / 2, centres + sides / 2])
    boxes = boxes * (shape[1], shape[0], shape[1], shape[0])
    return np.asarray(boxes, np.float32), table[:, 0].astype(np.int64)


def _touching(found: Boxes, ground_truth: Boxes) -> np.ndarray:
    low = np.maximum(found[:, None, :2], ground_truth[None, :, :2])
    high = np.minimum(found[:, None, 2:], ground_truth[None, :, 2:])
    return np.asarray((high > low).all(axis=2))


def _run() -> None:
    configure_logging()
    with suppress(OSError):
        os.nice(NICENESS)
    folder = TrainingFolder(Path(sys.argv[1]))
    result = train_for_article(folder, int(sys.argv[2]))
    for line in result.lines(folder, folder.read_job().article):
        print(line, flush=True)


def main() -> None:
    """Go on with the training in the folder that is named, and leave with an exit code."""
    run_command(_run)
