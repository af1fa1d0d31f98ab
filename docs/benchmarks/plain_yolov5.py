"""A plain YOLOv5 for comparison: ultralytics' own trainer and defaults, on the tiles the others see."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import yaml
from commands import python

from distill.checkpoint import Checkpoint, write_checkpoint
from distill.data.dataset import load_dataset
from distill.data.tiles import TilePlan, visible_ground_truth
from distill.detector.build import build_module
from distill.detector.choice import structure_of
from distill.detector.official_weights import take_official_weights
from distill.settings.recipe import Recipe
from distill.training.train import contract_for
from edge.core.contract import NoEnhancement
from edge.core.taxonomy import load_taxonomy
from edge.inference.preprocess import cut_view

EVERY = 4
"""Its list names the tiles with defects so many times and some of the others once: an epoch of its trainer
is so many of the other trainings'."""


@dataclass(frozen=True)
class Plain:
    """Say how it is trained.

    Attributes:
        epochs: counted as those of the others.
        empty_fraction: of the tiles without a defect that the others see in an epoch.
    """

    scale: str
    size_px: int
    mm_per_px: float
    epochs: int
    empty_fraction: float

    def recipe(self) -> Recipe:
        """Return the recipe that describes what it sees and is."""
        return Recipe(
            scale=self.scale,
            input_size_hw_px=(self.size_px, self.size_px),
            colour_order="rgb",
            enhancement=NoEnhancement(),
            mm_per_px=self.mm_per_px,
        )


def train_plain(folder: Path, name: str, data: Path, plain: Plain) -> None:
    """Train it, unless that is done, and bring its weights into `name`/best.pt."""
    if (folder / name / "best.pt").is_file():
        return
    tiles = folder / f"{name}-tiles"
    if not (tiles / "data.yaml").is_file():
        write_tiles(data, tiles, plain)
    settings = {
        "data": str(tiles / "data.yaml"), "imgsz": plain.size_px, "epochs": max(1, plain.epochs // EVERY),
        "batch": 16, "device": "cpu", "pretrained": False, "plots": False, "workers": 0, "seed": 0,
        "amp": False, "project": str(folder), "name": f"{name}-ultralytics", "exist_ok": True,
        "verbose": False,
        # Its own defaults are three epochs of warm-up and ten without mosaic.
        "warmup_epochs": 3 / EVERY, "close_mosaic": max(1, 10 // EVERY),
    }  # fmt: skip
    code = (
        "import json, sys; import distill.ultralytics_door; from ultralytics import YOLO; "
        f"YOLO('yolov5{plain.scale}.yaml').train(**json.loads(sys.argv[1]))"
    )
    python(folder, code, json.dumps(settings), log=folder / f"{name}.log")
    bring_over(folder / f"{name}-ultralytics" / "weights" / "best.pt", folder / name / "best.pt", plain)
    print(name, "is trained", flush=True)


def bring_over(weights_file: Path, checkpoint: Path, plain: Plain) -> None:
    """Write the weights of ultralytics' file as a checkpoint, which export and edge-run take."""
    contract = contract_for(plain.recipe(), load_taxonomy(), None)
    structure = structure_of(plain.recipe(), contract)
    module = build_module(structure)
    taken = take_official_weights(module, weights_file, "rgb")
    if taken["other_shape"] or taken["missing"]:
        raise SystemExit(f"{weights_file} is of another network: {taken}")
    weights = module.state_dict()
    checkpoint.parent.mkdir(exist_ok=True)
    write_checkpoint(checkpoint, Checkpoint(structure, weights, contract))


def write_tiles(data: Path, target: Path, plain: Plain) -> None:
    """Cut a data set into files of tiles, as ultralytics wants them."""
    classes = load_taxonomy().classes
    contract = contract_for(plain.recipe(), load_taxonomy(), None)
    dataset = load_dataset(data, classes)
    files: dict[str, list[tuple[Path, bool]]] = {}
    for split, labelled_images in (("train", dataset.train), ("val", dataset.val)):
        plan = TilePlan(labelled_images, contract, plain.mm_per_px, cache_mb=1024)
        images = target / "images" / split
        files[split] = [
            (write_tile(plan, number, images, plain.size_px), tile.is_empty)
            for number, tile in enumerate(plan.tiles)
        ]
    full = [file for file, is_empty in files["train"] if not is_empty]
    empty = [file for file, is_empty in files["train"] if is_empty]
    random.Random(0).shuffle(empty)
    drawn = empty[: round(len(empty) * min(1.0, plain.empty_fraction * EVERY))]
    _write_list(target / "train.txt", chain(full * EVERY, drawn))
    _write_list(target / "val.txt", (file for file, _ in files["val"]))
    description = {"path": str(target), "train": "train.txt", "val": "val.txt", "names": list(classes)}
    (target / "data.yaml").write_text(yaml.safe_dump(description), encoding="utf-8")


def write_tile(plan: TilePlan, number: int, target: Path, size_px: int) -> Path:
    """Write one tile and its labels; return the file of the tile."""
    tile = plan.tiles[number]
    labelled = plan.images[tile.image_index]
    image = np.asarray(cv2.imread(str(labelled.path), cv2.IMREAD_GRAYSCALE), np.uint8)
    boxes, class_ids = visible_ground_truth(labelled.boxes_xyxy_px(image), labelled.class_ids, tile.view)
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    fractions = np.concatenate([centres, sides], axis=1) / size_px
    rows = [
        f"{class_id} " + " ".join(f"{value:.6f}" for value in row)
        for class_id, row in zip(class_ids.tolist(), fractions.tolist(), strict=True)
    ]
    file = target / f"{labelled.path.stem}-{number}.png"
    label = Path(str(target).replace("/images/", "/labels/")) / f"{file.stem}.txt"
    for each in (file, label):
        each.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), cut_view(image, tile.view, (size_px, size_px)))
    label.write_text("\n".join(rows), encoding="utf-8")
    return file


def _write_list(file: Path, paths: Iterable[Path]) -> None:
    file.write_text("\n".join(map(str, paths)) + "\n", encoding="utf-8")
