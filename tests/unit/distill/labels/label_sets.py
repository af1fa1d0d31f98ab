"""Label sets with images on disk, under names that people really use."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from hypothesis import strategies as st

from distill.labels.sets.annotations import REVIEW_STATES, AnnotatedImage, LabelSet, Region, box_around
from distill.labels.sets.naming import named_by
from edge.core.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()
CLASSES = TAXONOMY.classes
CATEGORIES = {name: [k.category for k in TAXONOMY.kinds if k.parent == name] for name in CLASSES}

IMAGES = {
    "0 (1).jpg": (50, 200),
    "roll 7/油污 样本.png": (37, 41),
    "a&b 'c'.PNG": (64, 64),
    "0001.bmp": (20, 330),
}
SPLIT_OF = dict(zip(IMAGES, ("train", "val", "test", "train"), strict=True))


def write_image(path: Path, size_hw: tuple[int, int], seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng([seed, *size_hw]).integers(0, 255, size_hw, np.uint8)
    path.write_bytes(cv2.imencode(path.suffix.lower(), image)[1].tobytes())
    return path


def write_images(root: Path) -> Path:
    for number, (name, size_hw) in enumerate(IMAGES.items()):
        write_image(root / name, size_hw, number)
    return root


def everything(labels: LabelSet) -> tuple[AnnotatedImage, ...]:
    """Return all images of a set, also those of which an object could not be read."""
    return (*labels.images, *labels.left_out)


def region(label="drop", box=(10.0, 10.0, 20.0, 20.0), **values) -> Region:
    return Region(label, box, **values)


def label_set(root: Path, regions: dict[str, tuple[Region, ...]] | None = None, **values) -> LabelSet:
    """Return the set of all images, with these regions."""
    images = tuple(
        AnnotatedImage(name, size, (regions or {}).get(name, ()), f"roll {name[:3]}", SPLIT_OF[name])
        for name, size in sorted(IMAGES.items())
    )
    return LabelSet(root, CLASSES, images, **values)


def rich_set(root: Path) -> LabelSet:
    """Return a set in which everything that a label may have is there."""
    outline = ((5.0, 5.0), (30.5, 6.25), (17.0, 30.0))
    regions = {
        "0 (1).jpg": (
            region("drop", (146.4, 24.05, 149.6, 25.05), score=0.875, annotator="florence-2", weight=0.5),
            region("drop", (0.0, 0.0, 200.0, 50.0), review="rejected", annotator="sam", score=0.1),
            region("broken", (100.0, 0.0, 103.0, 50.0), category="broken end", review="corrected"),
        ),
        "roll 7/油污 样本.png": (
            Region(
                "wrinkle", box_around(outline), outline, "crease", "折痕 <1>", 1 / 3, "张三", "accepted"
            ),
        ),
    }
    return named_by(label_set(root, regions), TAXONOMY)


@st.composite
def regions(draw, size_hw: tuple[int, int]) -> Region:
    """Draw a region inside an image, at least a pixel wide and high."""
    height, width = size_hw
    label = draw(st.sampled_from(CLASSES))
    x1, y1 = draw(st.floats(0, width - 1)), draw(st.floats(0, height - 1))
    box = (x1, y1, draw(st.floats(x1 + 1, width)), draw(st.floats(y1 + 1, height)))
    outline = None
    if draw(st.booleans()):
        outline = ((box[0], box[1]), (box[2], (box[1] + box[3]) / 2), ((box[0] + box[2]) / 2, box[3]))
    return Region(
        label,
        box,
        outline,
        category=draw(st.none() | st.sampled_from(CATEGORIES[label])),
        phrase=draw(st.none() | st.sampled_from(["折痕 <1>", "oil & dirt", 'a "thin" place'])),
        score=draw(st.none() | st.floats(0, 1)),
        annotator=draw(st.none() | st.sampled_from(["florence-2", "张三", "owl v2"])),
        review=draw(st.sampled_from(REVIEW_STATES)),
        weight=draw(st.floats(0, 1)),
    )


@st.composite
def label_sets(draw, root: Path) -> LabelSet:
    drawn = {name: tuple(draw(st.lists(regions(size), max_size=3))) for name, size in IMAGES.items()}
    return named_by(label_set(root, drawn), TAXONOMY)
