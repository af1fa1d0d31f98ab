"""A small data set folder with regions that wait for a person."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from distill.labels.formats import yolo
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, Region, box_around

CLASSES = ("wrinkle", "drop", "broken")
SIZE_HW = (60, 120)
OUTLINE = ((70.0, 10.0), (100.0, 12.0), (90.0, 40.0), (72.0, 38.0))

SURE = Region("drop", (2.0, 2.0, 12.0, 12.0), score=0.95, annotator="detector+florence", weight=0.95)
UNSURE = Region(
    "drop", (20.0, 10.0, 40.0, 30.0), score=0.6, annotator="florence", review="queued", weight=0.6
)
MASKED = Region(
    "broken",
    box_around(OUTLINE),
    OUTLINE,
    "broken end",
    "a broken end",
    0.5,
    "detector+florence",
    "queued",
    0.5,
)
LIKELY = Region(
    "wrinkle", (10.0, 5.0, 60.0, 50.0), score=0.75, annotator="detector", review="queued", weight=0.75
)
BY_HAND = Region("wrinkle", (30.0, 30.0, 50.0, 50.0))

HARD, EASY, DONE, CLEAN = (
    "images/train/b (1).png",
    "images/val/坯布.png",
    "images/train/c.png",
    "images/train/d.png",
)

REGIONS = {HARD: (SURE, UNSURE, MASKED), EASY: (LIKELY,), DONE: (BY_HAND,), CLEAN: ()}


def label_set(root: Path = Path()) -> LabelSet:
    images = tuple(
        AnnotatedImage(name, SIZE_HW, regions, "roll 7", name.split("/")[1])
        for name, regions in sorted(REGIONS.items())
    )
    return LabelSet(root, CLASSES, images)


def write_folder(folder: Path) -> Path:
    """Write the data set of the regions above."""

    def write_image(image: AnnotatedImage, path: Path) -> None:
        grey = np.random.default_rng(len(image.file_name)).integers(90, 160, SIZE_HW, np.uint8)
        path.write_bytes(cv2.imencode(".png", grey)[1].tobytes())

    yolo.write(label_set(), folder, write_image)
    return folder


def regions_in(folder: Path, name: str) -> tuple[Region, ...]:
    """Return what the data set says of an image, as any reader of it sees it."""
    found = yolo.read(folder)
    assert found.problems == {}
    return next(image.regions for image in found.images if image.file_name == name)
