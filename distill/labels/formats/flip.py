"""Flip images together with their boxes and outlines.

A flipped copy keeps the group and the split of its image, so it never meets it across splits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import cv2
import numpy as np

from distill.labels.formats import yolo_writing
from distill.labels.sets.annotations import AnnotatedImage, BoxXyxy, LabelSet, Region, WrittenLabels
from distill.labels.sets.image_files import decoded
from edge.core.errors import DatasetError
from edge.core.image import Image

Direction = Literal["horizontal", "vertical"]
DIRECTIONS: tuple[Direction, ...] = ("horizontal", "vertical")

SUFFIXES: dict[Direction, str] = {"horizontal": "_h", "vertical": "_v"}
OPENCV_CODES: dict[Direction, int] = {"horizontal": 1, "vertical": 0}


@dataclass(frozen=True, slots=True)
class _Origin:
    """Say of which image one is the flipped copy."""

    image: AnnotatedImage
    direction: Direction


def write_flipped(label_set: LabelSet, target: Path, directions: Sequence[Direction]) -> WrittenLabels:
    """Write a data set folder with all images and a flipped copy of each training image per direction.

    Copies are PNG files, so that flipping costs no quality.

    Raises:
        DatasetError: see `distill.labels.formats.yolo_writing.write`; or a copy's name is taken.
        OutputError: if the folder is not empty or cannot be written.
    """
    names = {image.file_name for image in label_set.images}
    copies, origins = [], {}
    for image in label_set.images:
        for direction in directions if image.split == "train" else ():
            copy = flipped(image, direction)
            if copy.file_name in names:
                raise DatasetError(f"There is an image {copy.file_name} already.", "It was flipped before.")
            copies.append(copy)
            origins[copy.file_name] = _Origin(image, direction)
    copy_image = yolo_writing.copier(label_set.root)

    def write_image(image: AnnotatedImage, path: Path) -> None:
        origin = origins.get(image.file_name)
        if origin is None:
            copy_image(image, path)
        else:
            _write_flipped(label_set.root / origin.image.file_name, origin, path)

    images = sorted((*label_set.images, *copies), key=lambda image: image.file_name)
    return yolo_writing.write(replace(label_set, images=tuple(images)), target, write_image)


def flipped(image: AnnotatedImage, direction: Direction) -> AnnotatedImage:
    """Return the labels of the flipped copy: same group, same split, a name with `_h` or `_v`."""
    path = PurePosixPath(image.file_name)
    name = str(path.with_name(f"{path.stem}{SUFFIXES[direction]}.png"))
    return replace(flipped_labels(image, (direction,)), file_name=name)


def flipped_image(image: Image, directions: Iterable[Direction]) -> Image:
    """Flip an image, (H, W) or (H, W, 3)."""
    for direction in directions:
        image = np.asarray(cv2.flip(image, OPENCV_CODES[direction]), np.uint8)
    return image


def flipped_labels(image: AnnotatedImage, directions: Iterable[Direction]) -> AnnotatedImage:
    """Flip the regions of an image."""
    regions = image.regions
    for direction in directions:
        regions = tuple(flipped_region(region, image.size_hw_px, direction) for region in regions)
    return replace(image, regions=regions)


def flipped_region(region: Region, size_hw_px: tuple[int, int], direction: Direction) -> Region:
    """Return a region in the flipped image."""
    height, width = size_hw_px
    x1, y1, x2, y2 = region.box_xyxy_px
    polygon = region.polygon_xy_px
    box: BoxXyxy
    if direction == "horizontal":
        box = (width - x2, y1, width - x1, y2)
        polygon = polygon and tuple((width - x, y) for x, y in polygon)
    else:
        box = (x1, height - y2, x2, height - y1)
        polygon = polygon and tuple((x, height - y) for x, y in polygon)
    return replace(region, box_xyxy_px=box, polygon_xy_px=polygon)


def _write_flipped(source: Path, origin: _Origin, path: Path) -> None:
    image = decoded(source)
    if image.shape[:2] != origin.image.size_hw_px:
        raise DatasetError(f"{source} is not as large as its labels say.", "Label it again.")
    done, data = cv2.imencode(".png", flipped_image(image, (origin.direction,)))
    if not done:
        raise DatasetError(f"{source} cannot be saved as PNG.", "Replace or remove the file.")
    path.write_bytes(data.tobytes())
