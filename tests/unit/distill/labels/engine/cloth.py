"""A little cloth on disk: images with one defect or none, their ground truth, and people who reviewed
some."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from distill.labels.formats import yolo
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, Region
from distill.labels.sets.image_files import content_digest, decoded
from edge.core.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()
SIDE_PX = 48
BENCHMARKS = Path(__file__).parents[5] / "docs" / "benchmarks"


def weave(root: Path, count: int, seed: int, prefix: str = "roll") -> LabelSet:
    """Write images of which every third is clean; groups of four."""
    root.mkdir(parents=True)
    images = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        image = rng.integers(90, 150, (SIDE_PX, SIDE_PX), np.uint8)
        x, y = rng.integers(2, 20, 2).tolist()
        box = (float(x), float(y), x + 18.0, y + 18.0)
        label = TAXONOMY.classes[index % 3]
        regions = () if index % 3 == 2 and index % 2 else (Region(label, box),)
        name = f"{prefix}{index // 4} ({index}).png"
        (root / name).write_bytes(cv2.imencode(".png", image)[1].tobytes())
        images.append(AnnotatedImage(name, (SIDE_PX, SIDE_PX), regions, group=f"{prefix}{index // 4}"))
    return LabelSet(root, TAXONOMY.classes, tuple(images))


def reviewed(folder: Path, count: int = 60, seed: int = 1) -> LabelSet:
    """Write a reviewed data set: a fifth of the groups teaches, two fifths calibrate, two judge."""
    cloth = weave(folder / "seen", count, seed, "seen")
    splits = ("train", "val", "test", "val", "test")
    images = [replace(i, split=splits[int(i.group.removeprefix("seen")) % 5]) for i in cloth.images]
    cloth = replace(cloth, images=tuple(images))
    yolo.write(cloth, folder / "reviewed")
    return cloth


def ground_truth_of(*sets: LabelSet) -> str:
    """Return the true boxes by the digest of the pixels, as the simulated annotators read them."""
    return json.dumps(
        {
            content_digest(decoded(one.root / image.file_name)): [
                (region.label, region.box_xyxy_px) for region in image.regions
            ]
            for one in sets
            for image in one.images
        }
    )


def settings_text(truth: Path, shard_pictures: int = 4, **manners: dict) -> str:
    """Return an engine's settings with simulated annotators by name."""
    rows = [f"shard_pictures = {shard_pictures}", "batch = 3"]
    for name, manner in manners.items():
        values = ", ".join(f"{key} = {json.dumps(value)}" for key, value in manner.items())
        comma = ", " if values else ""
        rows += [
            "[[annotators]]",
            'kind = "python"',
            f'name = "{name}"',
            'model = "simulated_annotators:annotator"',
            f"settings = {{truth = {json.dumps(str(truth))}{comma}{values}}}",
        ]
    return "\n".join(rows) + "\n"
