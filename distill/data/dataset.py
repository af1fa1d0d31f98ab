"""Read and check a folder of images and boxes in ultralytics' form before anything is trained.

data.yaml            path, train, val, (test), names
images/<split>/*.png
labels/<split>/*.txt one line per box: class, then centre x, centre y, width, height as fractions
annotations/*.json   optional; COCO with the weight of each box
simulation.json      optional; the simulator's options, among them mm_per_px
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.labels.formats.label_file import label_file
from distill.labels.formats.registry import read_labels
from distill.labels.formats.yolo_rows import trainable_box
from distill.labels.sets.annotations import AnnotatedImage, LabelSet
from edge.cameras.folder import IMAGE_SUFFIXES
from edge.core.errors import DatasetError, ImageError
from edge.core.image import Image
from edge.core.image_file import read_image
from edge.core.taxonomy import Taxonomy

logger = logging.getLogger(__name__)

TRAINED_WITH = ("train", "val")
SCALE_FILE = "simulation.json"


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """Hold the path of an image and its ground truth.

    Attributes:
        boxes_xyxy_norm: (N, 4) float64: x1, y1, x2, y2 as fractions of width and height.
        class_ids: (N,) int64, ids of the taxonomy.
        weights: (N,) float32 in [0, 1], how much each box is trusted; None for 1 throughout.
        group: roll or strip it was cut from; None if nobody said.
    """

    path: Path
    boxes_xyxy_norm: NDArray[np.float64]
    class_ids: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None
    group: str | None = None

    def boxes_xyxy_px(self, image: Image) -> NDArray[np.float32]:
        """Return the boxes in pixels of the decoded image, (N, 4) float32."""
        height, width = image.shape[:2]
        return np.asarray(self.boxes_xyxy_norm * (width, height, width, height), np.float32)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Hold a data set whose labels have been checked.

    Attributes:
        mm_per_px: size of a pixel on the cloth; None if the data set does not say.
    """

    folder: Path
    train: tuple[LabelledImage, ...]
    val: tuple[LabelledImage, ...]
    mm_per_px: float | None


def load_dataset(folder: Path, taxonomy: Taxonomy | Sequence[str]) -> Dataset:
    """Read a data set by the reader of `loomsight labels`: what its `check` calls ok is taken here.

    Args:
        folder: with a data.yaml; its classes are mapped by name to their positions in the taxonomy.
        taxonomy: or the names of its classes alone.
    Raises:
        DatasetError: if data.yaml, a folder or every image of a split is missing, or the labels of a
            image cannot be read.
    """
    if not isinstance(taxonomy, Taxonomy):
        taxonomy = Taxonomy(version=1, classes=tuple(taxonomy))
    return dataset_of(read_labels(folder, taxonomy, format_name="dataset"), folder)


def dataset_of(label_set: LabelSet, folder: Path) -> Dataset:
    """Return what a label set gives to train on.

    Raises:
        DatasetError: as `load_dataset`.
    """
    _check_is_read(label_set, folder)
    for name, problem in label_set.problems.items():
        logger.warning("%s: %s", name, problem)
    _say_notes(label_set, folder)
    return Dataset(
        folder=folder,
        train=_images(label_set, "train", folder),
        val=tuple(replace(image, weights=None) for image in _images(label_set, "val", folder)),
        mm_per_px=label_set.mm_per_px,
    )


def check_classes(dataset: Dataset, class_names: tuple[str, ...]) -> None:
    """Say which classes cannot be learnt or measured, because a split shows none of them.

    Raises:
        DatasetError: if no training image shows a defect.
    """
    check_shows_defects(dataset)
    lacking = {"train": _lacking(dataset.train, class_names), "val": _lacking(dataset.val, class_names)}
    for split, verb in (("train", "learnt"), ("val", "measured, and no threshold is chosen")):
        if lacking[split]:
            logger.warning("no box of %s in %s: cannot be %s", ", ".join(lacking[split]), split, verb)


def check_shows_defects(dataset: Dataset) -> None:
    """See that there is something to learn.

    Raises:
        DatasetError: if no training image shows a defect.
    """
    if not any(len(image.class_ids) for image in dataset.train):
        raise DatasetError(
            f"No training image of {dataset.folder} shows a defect.",
            "Label some: a detector learns from boxes.",
        )


def _lacking(images: tuple[LabelledImage, ...], class_names: tuple[str, ...]) -> list[str]:
    shown = {int(class_id) for image in images for class_id in image.class_ids}
    return [name for number, name in enumerate(class_names) if number not in shown]


def read_labelled(path: Path) -> Image:
    """Decode an image of a data set, as the edge would.

    Raises:
        DatasetError: if it cannot be decoded or is truncated.
    """
    try:
        return read_image(path)
    except ImageError as error:
        raise DatasetError(error.problem, error.cure) from error


def _check_is_read(label_set: LabelSet, folder: Path) -> None:
    """See that nothing is lacking that would pass for clean cloth, or for no scale."""
    cure = f"Correct what `loomsight labels check {folder}` names."
    if SCALE_FILE in label_set.problems:
        raise DatasetError(f"{folder / SCALE_FILE} {label_set.problems[SCALE_FILE]}.", cure)
    lost = [image.file_name for image in label_set.left_out if image.split in TRAINED_WITH]
    read = {image.file_name for image in (*label_set.images, *label_set.left_out)}
    lost += [name for name in label_set.problems if name not in read and _is_image(label_set.root / name)]
    if lost:
        more = f" (and {len(lost) - 1} more like it)" if len(lost) > 1 else ""
        raise DatasetError(f"{lost[0]}: {_problem_of(lost[0], label_set)}{more}.", cure)


def _say_notes(label_set: LabelSet, folder: Path) -> None:
    """Say what was read as something else, such as a box that was cut at the edge: one, and the count."""
    for name, note in [*label_set.notes.items()][:1]:
        more = len(label_set.notes) - 1
        logger.info(
            "%s: %s%s", name, note, f"; {more} more in `loomsight labels check {folder}`" if more else ""
        )


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and os.path.lexists(path)


def _problem_of(name: str, label_set: LabelSet) -> str:
    """Return what is wrong with an image: it stands at its name or at its label file's."""
    path = label_set.root / name
    beside = os.path.relpath(label_file(path), label_set.root).replace(os.sep, "/")
    found = [label_set.problems[key] for key in (name, beside) if key in label_set.problems]
    rest = [f"{key}: {problem}" for key, problem in label_set.problems.items()]
    return "; ".join(found or rest[:1])


def _images(label_set: LabelSet, split: str, folder: Path) -> tuple[LabelledImage, ...]:
    """Return the images of a split, without those of which a box waits for a person.

    Trained on without it, such an image would teach that there is no defect; validated on, a detector that
    finds the defect would be counted down.
    """
    images = [image for image in label_set.images if image.split == split]
    if not images:
        raise DatasetError(
            f"{folder} has no images in the split '{split}'.",
            f"Name a folder of {', '.join(sorted(IMAGE_SUFFIXES))} files in data.yaml: "
            f"`{split}: images/{split}`.",
        )
    ready = [image for image in images if not _is_waiting(image)]
    if len(ready) < len(images):
        waiting = len(images) - len(ready)
        logger.info("%d of %d images of %s wait for `loomsight review`", waiting, len(images), split)
    if not ready:
        raise DatasetError(f"Every image of {split} waits for review.", "Run `loomsight review`.")
    return tuple(_labelled(image, label_set) for image in ready)


def _is_waiting(image: AnnotatedImage) -> bool:
    """Tell whether a box waits for a person, or is said to be there and nothing of it is."""
    return any(
        region.review == "queued"
        or (region.review != "rejected" and trainable_box(region, image.size_hw_px) is None)
        for region in image.regions
    )


def _labelled(image: AnnotatedImage, label_set: LabelSet) -> LabelledImage:
    height, width = image.size_hw_px
    held = [
        (box, label_set.class_names.index(region.label), region.weight)
        for region in image.regions
        if (box := trainable_box(region, image.size_hw_px)) is not None
    ]
    boxes_px = np.array([box for box, _, _ in held], np.float64).reshape(-1, 4)
    return LabelledImage(
        label_set.root / image.file_name,
        boxes_px / (width, height, width, height),
        np.array([class_id for _, class_id, _ in held], np.int64),
        np.array([weight for _, _, weight in held], np.float32),
        image.group,
    )
