"""Teach a small Florence-2 to find defects of simulated cloth, and say how well it does.

Usage: PYTHONPATH=. python docs/benchmarks/florence_small.py OUT.json [--minutes 18] [--train 320]
           [--unseen 120] [--epochs 200] [--threads 2]

The model has the real classes and random weights; nothing is downloaded. Recall and precision are counted
at an overlap (IoU) of 0.5 and by class, over every box the model writes: no score threshold is chosen.
Scores are calibrated on one half of the unseen images and tested on the other. Beside OUT.json lie the
curves of the training and the reliability plot.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from distill.core.figures import new_figure, plain, write_figure
from distill.core.run_folder import RunFolder
from distill.evaluation.evaluate import match
from distill.labels.engine.calibration import calibrated, fit_calibration
from distill.labels.engine.reliability import (
    ReliabilityBin,
    expected_calibration_error,
    judge,
    reliability,
)
from distill.labels.florence.annotate import FlorenceAnnotator
from distill.labels.florence.finetune import CURVES, MODEL_FOLDER, finetune
from distill.labels.florence.loading import Teacher, load_teacher
from distill.labels.florence.settings import AnnotationSettings, FinetuneSettings
from distill.labels.florence.validation import detections_of
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, Region
from distill.labels.sets.image_files import decoded
from edge.core.errors import DatasetError
from edge.core.image import Image
from edge.core.palette import SOFT_INK
from edge.core.taxonomy import Taxonomy, load_taxonomy
from edge.dataset.image import draw_image, encode_png
from edge.dataset.options import DatasetOptions
from tests.small_models.florence import SmallSizes, write_small_model

IOU = 0.5
TRAIN_SEED, VAL_SEED, UNSEEN_SEED = 1, 2, 3
LONGEST_ANSWER = 48
BATCHES = (1, 4, 16, 64)

CLOTH = {
    "size_hw": (160, 160),
    "mm_per_px": 0.4,
    "weave": "plain",
    "warp_pitch_px": 4.0,
    "weft_pitch_px": 4.0,
    "mean_grey": 120.0,
    "categories": ("hole", "stain", "wrinkle"),
    "difficulties": ("obvious",),
    "defect_share": 0.9,
}
"""One article, defects that are easy to see: what is measured is whether the code teaches."""

SIZES = SmallSizes(
    image_px=96,
    embed_dim=(32, 64, 128, 192),
    depths=(1, 1, 1, 1),
    patch_stride=(4, 2, 2, 1),
    window_px=6,
    d_model=128,
    ffn_dim=512,
    layers=2,
    heads=4,
    max_tokens=256,
)
"""A grid of 6 x 6 image tokens: the last stage of the vision half keeps its resolution."""

SETTINGS = FinetuneSettings(
    tasks=("detection",),
    lora=None,
    epochs=200,
    batch=16,
    learning_rate=4e-4,
    weight_decay=0.02,
    warmup_share=0.03,
    final_learning_rate_share=0.02,
    flip_share=0.0,
    location_sigma_bins=6.0,
    divergence_rise=4.0,
    validate_every_epochs=100_000,
    max_new_tokens=LONGEST_ANSWER,
)


class Report:
    """Say on stderr how it goes, every tenth epoch."""

    def batch_done(self, epoch: int, done: int, total: int, loss: float) -> None:
        """Pass over single steps."""

    def epoch_done(self, row: Mapping[str, Any]) -> None:
        """Log the epoch."""
        if row["epoch"] % 10 == 0 or row["val_loss"] is not None:
            logging.info("epoch %d: loss %.3f, %.1f s", row["epoch"] + 1, row["loss"], row["seconds"])


def main() -> None:
    """Weave, measure, teach, measure again; print the result and write it."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        result = run(folder, arguments)
    text = json.dumps(result, indent=2)
    arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text)


def run(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Do all of it in a folder and return the numbers."""
    taxonomy = load_taxonomy()
    sets = {
        "train": woven(folder, "train", arguments.train, TRAIN_SEED, taxonomy),
        "val": woven(folder, "val", 16, VAL_SEED, taxonomy),
        "unseen": woven(folder, "unseen", arguments.unseen, UNSEEN_SEED, taxonomy),
    }
    base = write_small_model(folder / "base", SIZES, taxonomy)
    before = measured(load_teacher(str(base)), folder, sets, taxonomy)
    settings = SETTINGS.model_copy(update={"time_limit_min": arguments.minutes, "epochs": arguments.epochs})
    teacher = load_teacher(str(base))
    parameters = sum(weight.numel() for weight in teacher.model.parameters())
    run_folder = RunFolder(folder / "run")
    run_folder.open_new()
    label_set = LabelSet(folder, taxonomy.classes, (*sets["train"], *sets["val"]))
    started = time.monotonic()
    if not finetune(teacher, label_set, taxonomy, settings, run_folder, listener=Report()):
        raise SystemExit("stopped")
    minutes = (time.monotonic() - started) / 60
    taught = load_teacher(str(run_folder.path / MODEL_FOLDER))
    rows = run_folder.read_history()
    shutil.copy(run_folder.path / CURVES, beside(arguments.out, "curves"))
    return {
        "parameters": parameters,
        "pictures": {name: len(images) for name, images in sets.items()},
        "threads": arguments.threads,
        "minutes": round(minutes, 2),
        "epochs": len(rows),
        "steps": rows[-1]["steps"],
        "loss": [round(rows[0]["loss"], 3), round(rows[-1]["loss"], 3)],
        "before": before,
        "after": measured(taught, folder, sets, taxonomy),
        "calibration": calibration_error(taught, folder, sets["unseen"], taxonomy, arguments.out),
        "images_per_s": images_per_s(taught, images_of(folder, sets["unseen"]), taxonomy),
    }


def woven(
    folder: Path, split: str, count: int, seed: int, taxonomy: Taxonomy
) -> tuple[AnnotatedImage, ...]:
    """Weave images and write them; return what is to be found in them."""
    options = DatasetOptions.model_validate({**CLOTH, "images": count, "seed": seed})
    images = []
    for index in range(count):
        image = draw_image(options, taxonomy, index)
        name = f"{split}-{index:04d}.png"
        (folder / name).write_bytes(encode_png(image.image))
        regions = tuple(
            Region(d.class_name, tuple(map(float, d.box_xyxy_px)), category=d.category)  # type: ignore[arg-type]
            for d in image.defects
        )
        images.append(AnnotatedImage(name, options.size_hw, regions, split=split))
    return tuple(images)


def images_of(folder: Path, images: Sequence[AnnotatedImage]) -> list[Image]:
    """Read images."""
    return [decoded(folder / image.file_name) for image in images]


def measured(
    teacher: Teacher, folder: Path, sets: Mapping[str, Sequence[AnnotatedImage]], taxonomy: Taxonomy
) -> dict[str, Any]:
    """Count right boxes on taught and on unseen images, with and without the grammar."""
    return {
        name: {
            "constrained" if constrained else "free": counted(
                teacher, folder, sets[name], taxonomy, constrained
            )
            for constrained in (True, False)
        }
        for name in ("train", "unseen")
    }


def counted(
    teacher: Teacher,
    folder: Path,
    images: Sequence[AnnotatedImage],
    taxonomy: Taxonomy,
    constrained: bool,
) -> dict[str, Any]:
    """Count the boxes of one split that are right."""
    settings = AnnotationSettings(
        vocabulary=taxonomy.classes, constrained=constrained, batch=32, max_new_tokens=LONGEST_ANSWER
    )
    found = FlorenceAnnotator(teacher, taxonomy, settings).annotate(images_of(folder, images))
    right = boxes = defects = 0
    for regions, image in zip(found, images, strict=True):
        ours, ground_truth = detections_of(regions, taxonomy), detections_of(image.regions, taxonomy)
        right += int(match(ours, ground_truth, np.array([IOU]))[:, 0].sum())
        boxes, defects = boxes + len(ours), defects + len(ground_truth)
    return {
        "defects": defects,
        "boxes": boxes,
        "right": right,
        "recall": round(right / defects, 4) if defects else None,
        "precision": round(right / boxes, 4) if boxes else None,
    }


def calibration_error(
    teacher: Teacher, folder: Path, images: Sequence[AnnotatedImage], taxonomy: Taxonomy, out: Path
) -> dict[str, Any]:
    """Calibrate on every second image, and compare scores with what is true on the others."""
    settings = AnnotationSettings(
        vocabulary=taxonomy.classes, batch=32, max_new_tokens=LONGEST_ANSWER, iou_threshold=1.0
    )
    found = FlorenceAnnotator(teacher, taxonomy, settings).annotate(images_of(folder, images))
    judged = [judge(regions, image.regions) for regions, image in zip(found, images, strict=True)]
    halves = [
        tuple(np.concatenate(parts) for parts in zip(*judged[start::2], strict=True)) for start in (0, 1)
    ]
    (fit_scores, fit_right), (scores, right) = halves
    before = {"boxes": len(scores), "error_before": round(expected_calibration_error(scores, right), 4)}
    try:
        calibration = fit_calibration(fit_scores, fit_right)
    except DatasetError as error:
        return {**before, "problem": str(error)}
    after = calibrated(calibration, scores)
    curves = {"before": reliability(scores, right), "after": reliability(after, right)}
    draw_reliability(curves, beside(out, "reliability"))
    return {
        **before,
        "error_after": round(expected_calibration_error(after, right), 4),
        "method": calibration.kind,
    }


def draw_reliability(curves: Mapping[str, Sequence[ReliabilityBin]], file: Path) -> None:
    """Draw fraction of right boxes over score into a PNG."""
    figure = new_figure((4.6, 4.4))
    axes: Any = figure.subplots()
    axes.plot([0, 1], [0, 1], color=SOFT_INK.hex, linewidth=1)
    for name, bins in curves.items():
        axes.plot(
            [b.mean_score for b in bins], [b.fraction_right for b in bins], marker="o", label=plain(name)
        )
    axes.set(xlabel="score", ylabel="fraction of right boxes", xlim=(0, 1), ylim=(0, 1))
    axes.grid(alpha=0.3)
    if curves:
        axes.legend(loc="upper left")
    write_figure(figure, file)


def beside(out: Path, what: str) -> Path:
    """Name an image beside the JSON file."""
    return out.with_name(f"{out.stem}-{what}.png")


def images_per_s(teacher: Teacher, images: Sequence[Image], taxonomy: Taxonomy) -> dict[str, float]:
    """Measure how many images are labelled in a second, by how many are asked about at once."""
    rates = {}
    for batch in BATCHES:
        settings = AnnotationSettings(
            vocabulary=taxonomy.classes, batch=batch, max_new_tokens=LONGEST_ANSWER
        )
        annotator = FlorenceAnnotator(teacher, taxonomy, settings)
        annotator.annotate(images[:batch])
        started = time.perf_counter()
        annotator.annotate(images)
        rates[str(batch)] = round(len(images) / (time.perf_counter() - started), 2)
    return rates


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--folder", type=Path, help="work here and keep it  [default: a temporary folder]")
    parser.add_argument("--minutes", type=float, default=18.0)
    parser.add_argument("--epochs", type=int, default=SETTINGS.epochs)
    parser.add_argument("--train", type=int, default=320)
    parser.add_argument("--unseen", type=int, default=120)
    parser.add_argument("--threads", type=int, default=2)
    cv2.setNumThreads(1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
