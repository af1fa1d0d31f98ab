"""Add images that are declared free of defects: they belong into a training set, too."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from distill.labels.sets.annotations import AnnotatedImage, LabelSet
from distill.labels.sets.image_files import size_hw_px
from distill.labels.sets.problems import Problems
from edge.cameras.folder import image_files
from edge.core.errors import DatasetError


def with_clean_images(label_set: LabelSet, folder: Path) -> LabelSet:
    """Add the images in a folder and below it, without regions; labelled ones stay as they are.

    An image that was left out because its labels could not be read stays left out.

    Returns:
        The set, whose root is now the folder that holds both.
    Raises:
        DatasetError: if the folder is missing or holds no images.
    """
    files = image_files(folder) if folder.is_dir() else []
    if not files:
        raise DatasetError(f"{folder} holds no images.", "Correct --clean.")
    root = Path(os.path.commonpath([label_set.root.resolve(), folder.resolve()]))
    labelled = (*label_set.images, *label_set.left_out)
    moved = {image.file_name: _name(label_set.root / image.file_name, root) for image in labelled}
    images = _renamed(label_set.images, moved)
    left_out = _renamed(label_set.left_out, moved)
    problems = Problems({moved.get(file, file): line for file, line in label_set.problems.items()})
    for file in files:
        name = _name(file, root)
        if name in left_out:
            continue
        try:
            images.setdefault(name, AnnotatedImage(name, size_hw_px(file)))
        except DatasetError as error:
            problems.add(name, error.problem)
    return replace(
        label_set,
        root=root,
        images=tuple(images[name] for name in sorted(images)),
        left_out=tuple(left_out.values()),
        problems=problems.by_file(),
    )


def _renamed(images: Iterable[AnnotatedImage], moved: Mapping[str, str]) -> dict[str, AnnotatedImage]:
    """Return images by their new name."""
    names = ((image, moved[image.file_name]) for image in images)
    return {name: replace(image, file_name=name) for image, name in names}


def _name(path: Path, root: Path) -> str:
    return os.path.relpath(path.parent.resolve() / path.name, root).replace(os.sep, "/")
