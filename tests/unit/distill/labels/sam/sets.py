"""Images of bright ellipses with their outlines, as a COCO file and as a data set folder."""

from __future__ import annotations

import json

import cv2
import numpy as np

from distill.labels.formats.yolo import write
from distill.labels.sam.masks import outline_of
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, Region, box_around

SIZE = (64, 64)
CLASSES = ("wrinkle", "drop", "broken")


def ellipse_set(folder, *, train=6, val=3):
    """Write images, and a data set folder of them; return that folder."""
    image_folder = folder / "images"
    image_folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    images = []
    for number in range(train + val):
        mask = np.zeros(SIZE, np.uint8)
        centre = tuple(int(v) for v in rng.integers(20, 44, 2))
        cv2.ellipse(mask, centre, tuple(int(v) for v in rng.integers(8, 16, 2)), 30, 0, 360, 1, -1)
        cv2.imwrite(str(image_folder / f"{number}.png"), np.where(mask > 0, 210, 60).astype(np.uint8))
        outline = outline_of(mask, 0.5)
        regions = (Region("drop", box_around(outline), outline, annotator="labelimg"),)
        split = "train" if number < train else "val"
        images.append(AnnotatedImage(f"{number}.png", SIZE, regions, f"roll {number}", split))
    write(LabelSet(image_folder, CLASSES, tuple(images)), folder / "set")
    return folder / "set"


def without_outlines(coco_file):
    """Rewrite a COCO file with boxes alone."""
    content = json.loads(coco_file.read_text())
    for row in content["annotations"]:
        row["segmentation"] = []
    coco_file.write_text(json.dumps(content))
    return coco_file
