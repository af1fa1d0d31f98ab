"""Teach the mask decoder of a small SAM to outline defects of simulated cloth, and say how well it does.

Usage: PYTHONPATH=. python docs/benchmarks/sam_small.py OUT.json [--train 480] [--unseen 80]
           [--epochs 30] [--threads 1]

The model has the real classes and random weights; nothing is downloaded. Its vision and prompt encoders are
never trained, so it knows of cloth what random features tell. Prompts are tight boxes. The number is the
mean intersection over union (IoU) of mask and ground truth over the defects of unseen images, beside that
of the trivial answer, a mask that fills its box.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from distill.core.run_folder import RunFolder
from distill.labels.formats.registry import read_labels
from distill.labels.sam.drawing import features_of, masks_of
from distill.labels.sam.examples import examples_of, masks_of_labels
from distill.labels.sam.finetune import MODEL_FOLDER, finetune
from distill.labels.sam.loading import Sam, load_sam
from distill.labels.sam.masks import TrueMask, overlap
from distill.labels.sam.outliner import Outliner
from distill.labels.sam.settings import SamFinetuneSettings
from distill.labels.sets.annotations import Region
from edge.core.errors import INTERRUPTED_EXIT_CODE
from edge.core.geometry import iou_matrix
from edge.core.image import Image
from edge.core.taxonomy import Taxonomy, load_taxonomy
from edge.dataset.image import draw_image
from edge.dataset.options import DatasetOptions
from edge.dataset.writing import write_dataset
from tests.small_models.sam import SmallSamSizes, write_small_sam

TAUGHT_SEED, UNSEEN_SEED = 11, 12
WIDENED_PX = 4.0
"""Prompts for the tight boxes are the true boxes, wider by this on each side: a sloppy annotator's."""

CLOTH = {
    "size_hw": (160, 160),
    "mm_per_px": 0.4,
    "weave": "plain",
    "warp_pitch_px": 4.0,
    "weft_pitch_px": 4.0,
    "mean_grey": 120.0,
    "categories": ("hole", "stain", "broken yarn", "crease"),
    "difficulties": ("obvious",),
    "defect_share": 1.0,
}
"""One article, defects that are easy to see, of kinds that do not fill their boxes."""

SIZES = SmallSamSizes(image_px=160, patch_px=8, hidden=64, layers=2, channels=64)

SETTINGS = SamFinetuneSettings(epochs=30, batch=4, learning_rate=2e-3, seed=0)


class Report:
    """Say on stderr how it goes."""

    def batch_done(self, epoch: int, done: int, total: int, loss: float) -> None:
        """Pass over single steps."""

    def epoch_done(self, row: Mapping[str, Any]) -> None:
        """Log the epoch."""
        logging.info(
            "epoch %d: loss %.3f, validation IoU %.3f, %.1f s",
            row["epoch"] + 1, row["loss"], row["val_iou"], row["seconds"],
        )  # fmt: skip


def main() -> None:
    """Weave, measure, teach, measure again; print the result and write it."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder), arguments)
    text = json.dumps(result, indent=2)
    arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text)


def run(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Do all of it in a folder and return the numbers."""
    taxonomy = load_taxonomy()
    taught = DatasetOptions.model_validate(
        {**CLOTH, "images": arguments.train, "seed": TAUGHT_SEED, "workers": 1,
         "split": {"train": 0.85, "val": 0.15}}
    )  # fmt: skip
    write_dataset(folder / "set", taught, taxonomy)
    label_set = read_labels(folder / "set", taxonomy)
    masks, _ = masks_of_labels(label_set, folder / "set")
    train, val = (examples_of(label_set, masks, split, None) for split in ("train", "val"))
    unseen = woven(arguments.unseen, taxonomy)
    base = load_sam(str(write_small_sam(folder / "base", SIZES)))
    counts = {
        "all": sum(weight.numel() for weight in base.model.parameters()),
        "mask decoder": sum(weight.numel() for weight in base.model.mask_decoder.parameters()),
    }
    before = measured(base, unseen)
    run_folder = RunFolder(folder / "run")
    run_folder.open_new()
    settings = SETTINGS.model_copy(update={"epochs": arguments.epochs})
    started = time.monotonic()
    if not finetune(base, train, val, settings, run_folder, listener=Report()):
        sys.exit(INTERRUPTED_EXIT_CODE)
    minutes = (time.monotonic() - started) / 60
    after = load_sam(str(run_folder.path / MODEL_FOLDER))
    rows = run_folder.read_history()
    return {
        "parameters": counts,
        "taught": {"pictures": len(train), "defects": sum(len(example.masks) for example in train)},
        "threads": arguments.threads,
        "minutes": round(minutes, 2),
        "epochs": len(rows),
        "loss": [round(rows[0]["loss"], 3), round(rows[-1]["loss"], 3)],
        "taught_iou": round(rows[-1]["train_iou"], 3),
        "validation_iou": json.loads(run_folder.metrics.read_text(encoding="utf-8")),
        "unseen_iou": {"before": before, "after": measured(after, unseen), "full box": trivial(unseen)},
        "box_iou_of_wide_prompts": tightened(after, unseen),
    }


Unseen = Sequence[tuple[Image, Sequence[tuple[str, TrueMask]]]]
"""Images, and category and mask of each defect."""


def woven(count: int, taxonomy: Taxonomy) -> Unseen:
    """Weave images of seeds that nothing was taught with."""
    options = DatasetOptions.model_validate({**CLOTH, "images": count, "seed": UNSEEN_SEED})
    images = [draw_image(options, taxonomy, index) for index in range(count)]
    return [
        (
            image.image,
            [(d.category, TrueMask(d.box_xyxy_px[0], d.box_xyxy_px[1], d.mask)) for d in image.defects],
        )
        for image in images
        if image.defects
    ]


def measured(sam: Sam, unseen: Unseen) -> dict[str, Any]:
    """Return the mean overlap of masks with the ground truth, by category and over all defects."""
    found: dict[str, list[float]] = defaultdict(list)
    for image, defects in unseen:
        boxes = [mask.box_xyxy_px for _, mask in defects]
        drawn, _ = masks_of(sam, features_of(sam, image), boxes, batch=32)
        for (category, mask), one in zip(defects, drawn.numpy(), strict=True):
            true = mask.within(0, 0, (image.shape[0], image.shape[1]))
            found[category].append(overlap(true, one.astype(np.uint8)))
    return _means(found)


def trivial(unseen: Unseen) -> dict[str, Any]:
    """Return what masks reach that fill their boxes."""
    found: dict[str, list[float]] = defaultdict(list)
    for _, defects in unseen:
        for category, mask in defects:
            found[category].append(float(mask.mask.mean()))
    return _means(found)


def tightened(sam: Sam, unseen: Unseen) -> dict[str, float]:
    """Return how well boxes agree with the true ones, that are too wide, and that were made tight."""
    outliner, wide_ious, tight_ious, outlined = Outliner(sam), [], [], 0
    for image, defects in unseen:
        true = np.array([mask.box_xyxy_px for _, mask in defects], np.float32)
        limits = np.array([image.shape[1], image.shape[0]] * 2, np.float32)
        wide = np.clip(true + np.array([-1, -1, 1, 1], np.float32) * WIDENED_PX, 0, limits)
        regions = [Region("drop", tuple(box)) for box in wide.tolist()]
        tight = outliner.outline(image, regions)
        outlined += sum(region.polygon_xy_px is not None for region in tight)
        wide_ious += np.diag(iou_matrix(wide, true)).tolist()
        boxes = np.array([region.box_xyxy_px for region in tight], np.float32)
        tight_ious += np.diag(iou_matrix(boxes, true)).tolist()
    return {
        "wide": round(float(np.mean(wide_ious)), 3),
        "after refining": round(float(np.mean(tight_ious)), 3),
        "outlined share": round(outlined / len(wide_ious), 3),
    }


def _means(found: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    everything = [value for values in found.values() for value in values]
    means = {name: round(float(np.mean(values)), 3) for name, values in sorted(found.items())}
    return {"defects": len(everything), "all": round(float(np.mean(everything)), 3), **means}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--train", type=int, default=480)
    parser.add_argument("--unseen", type=int, default=80)
    parser.add_argument("--epochs", type=int, default=SETTINGS.epochs)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
