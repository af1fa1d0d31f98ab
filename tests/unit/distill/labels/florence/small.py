"""A Florence-2 of the real classes in 0.2 million parameters, and a few images to teach it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from distill.labels.florence.settings import FinetuneSettings
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, Region
from edge.core.taxonomy import load_taxonomy
from tests.small_models.florence import SmallSizes, write_small_model

TAXONOMY = load_taxonomy()
SIZES = SmallSizes(
    image_px=64, embed_dim=(16, 16, 32, 32), d_model=32, ffn_dim=32, layers=1, heads=2, max_tokens=256
)
HEIGHT, WIDTH = 48, 80


class Silence:
    """Hear nothing."""

    def batch_done(self, epoch, done, total, loss):
        pass

    def epoch_done(self, row):
        pass


def small_folder(folder: Path, **changes) -> Path:
    return write_small_model(folder, SIZES.model_copy(update=changes), TAXONOMY)


def small_settings(**changes) -> FinetuneSettings:
    values = {"tasks": ("detection",), "epochs": 2, "batch": 3, "learning_rate": 1e-3, "max_new_tokens": 12}
    return FinetuneSettings(**{**values, "precision": "float32", **changes})


def bright_square(rng: np.random.Generator):
    image = np.clip(rng.normal(110, 6, (HEIGHT, WIDTH)), 0, 255).astype(np.uint8)
    x, y = int(rng.integers(0, WIDTH - 20)), int(rng.integers(0, HEIGHT - 20))
    image[y : y + 20, x : x + 20] = 230
    corners = ((x, y), (x + 20, y), (x + 20, y + 20), (x, y + 20))
    return image, Region("drop", (x, y, x + 20, y + 20), corners, category="stain")


def small_set(folder: Path, train: int = 6, val: int = 2) -> LabelSet:
    """Write grey cloth, each image with one bright square; the first of each split is clean."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, images = np.random.default_rng(3), []
    for split, count in (("train", train), ("val", val)):
        for number in range(count):
            image, region = bright_square(rng)
            name = f"{split} ({number}) 布.png"
            _, data = cv2.imencode(".png", image)
            (folder / name).write_bytes(data.tobytes())
            regions = (region,) if number else ()
            images.append(AnnotatedImage(name, (HEIGHT, WIDTH), regions, split=split))
    return LabelSet(folder, TAXONOMY.classes, tuple(images))
