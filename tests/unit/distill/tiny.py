"""A data set of a few small images and a recipe that takes seconds."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import torch

from distill.checkpoint import Checkpoint, weights_digest, write_checkpoint
from distill.data.dataset import Dataset, load_dataset
from distill.detector.build import build_module
from distill.settings.recipe import Recipe
from distill.settings.structure import DetectorStructure
from distill.training.train import contract_for
from edge.core.taxonomy import load_taxonomy

CLASSES = load_taxonomy().classes
HEIGHT, WIDTH = 64, 160

TINY_TOML = """
scale = "p"
input_size_hw_px = [64, 64]
overlap_px = 0
epochs = 1
batch = 8
precision = "float32"
ema_warmup_steps = 5
cache_mb = 16
"""
"""A recipe that takes seconds, as a file says it; tables may follow."""


class Silence:
    """Hear nothing."""

    def batch_done(self, epoch, done, total, loss):
        pass

    def epoch_done(self, row):
        pass


def tiny_recipe(**changes) -> Recipe:
    values = {
        "scale": "p", "input_size_hw_px": (64, 64), "overlap_px": 8, "epochs": 2, "batch": 8,
        "warmup_epochs": 0.2, "precision": "float32", "ema_warmup_steps": 5, "cache_mb": 16,
    }  # fmt: skip
    return Recipe(**{**values, **changes})


def write_tiny_dataset(folder: Path, *, train: int = 12, val: int = 4, names=CLASSES) -> Path:
    """Write grey cloth with a bright spot (drop) on every second image and a dark end (broken)."""
    rng = np.random.default_rng(7)
    for split, count in (("train", train), ("val", val)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            image, rows = _image(rng, number, list(names))
            cv2.imwrite(str(folder / "images" / split / f"{number:03d}.png"), image)
            (folder / "labels" / split / f"{number:03d}.txt").write_text("\n".join(rows))
    text = f"path: .\ntrain: images/train\nval: images/val\nnames: {json.dumps(list(names))}\n"
    (folder / "data.yaml").write_text(text)
    (folder / "simulation.json").write_text(json.dumps({"options": {"mm_per_px": 0.2}}))
    return folder


def _image(rng: np.random.Generator, number: int, names: list[str]):
    image = np.clip(rng.normal(110, 6, (HEIGHT, WIDTH)), 0, 255).astype(np.uint8)
    rows = []
    if number % 2 == 0:
        x, y = int(rng.integers(4, WIDTH - 24)), int(rng.integers(4, HEIGHT - 24))
        image[y : y + 18, x : x + 18] = 220
        rows.append(_row(names.index("drop"), x, y, x + 18, y + 18))
    if number % 3 == 0:
        x = int(rng.integers(4, WIDTH - 12))
        image[:, x : x + 6] = 30
        rows.append(_row(names.index("broken"), x, 0, x + 6, HEIGHT))
    return image, rows


def _row(class_id, left, top, right, bottom) -> str:
    centre = (left + right) / 2 / WIDTH, (top + bottom) / 2 / HEIGHT
    fractions = (*centre, (right - left) / WIDTH, (bottom - top) / HEIGHT)
    return f"{class_id} " + " ".join(f"{fraction:.6f}" for fraction in fractions)


def tiny_dataset(folder: Path, **kwargs) -> Dataset:
    return load_dataset(write_tiny_dataset(folder, **kwargs), CLASSES)


def tiny_contract(recipe: Recipe | None = None):
    return contract_for(recipe or tiny_recipe(), load_taxonomy(), 0.2)


def untrained_checkpoint() -> Checkpoint:
    """Build a checkpoint that answers to its input, as a fresh network hardly does."""
    torch.manual_seed(0)
    structure = DetectorStructure(scale="p", channels=1, classes=len(CLASSES))
    module = build_module(structure).train()
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 0.5
    with torch.no_grad():
        for _ in range(4):
            module(torch.rand(8, 1, 64, 64))
    weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    for name in weights:
        if name.endswith(".2.weight") and (".cv2." in name or ".cv3." in name):
            weights[name] *= 10
        if name.endswith(".2.bias") and ".cv3." in name:
            weights[name] += 6
        if name.endswith(".2.bias") and ".cv2." in name:  # small boxes: others would fill the tile
            weights[name] -= 0.5 * torch.arange(len(weights[name]) // 4).repeat(4)
    contract = tiny_contract().model_copy(update={"source_digest": weights_digest(weights)})
    return Checkpoint(structure, weights, contract)


def write_untrained(path: Path) -> Path:
    write_checkpoint(path, untrained_checkpoint())
    return path
