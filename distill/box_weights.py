"""What pseudo-labelling tells a trainer: how far to trust each box, and which pictures to wait for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.labels import coco
from distill.labels.annotations import AnnotatedImage, LabelSet
from distill.labels.yolo_rows import SAME_BOX_PX, trainable_box

Floats = NDArray[np.float64]


class BoxWeights:
    """Look the weights of boxes up.

    Args:
        folder: a data set folder; annotations/SPLIT.json is read where it is there.
        split: train, val or test.
    Raises:
        DatasetError: if that file cannot be read.
    """

    def __init__(self, folder: Path, split: str) -> None:
        file = folder / "annotations" / f"{split}.json"
        kept = coco.read(file) if file.is_file() else None
        self._images: Mapping[Path, AnnotatedImage] = {} if kept is None else _by_picture(kept)

    def is_waiting(self, picture: Path) -> bool:
        """Tell whether a box of a picture waits for a person."""
        image = self._images.get(picture.resolve())
        return image is not None and any(region.review == "queued" for region in image.regions)

    def of(self, picture: Path, boxes_share: Floats) -> NDArray[np.float32]:
        """Return the weights of a picture's boxes, 1 for boxes that nothing is known of.

        Args:
            picture: path.
            boxes_share: (N, 4) x1, y1, x2, y2 as shares of width and height.
        Returns:
            (N,) float32 in [0, 1].
        """
        weights = np.ones(len(boxes_share), np.float32)
        image = self._images.get(picture.resolve())
        if image is None or not len(boxes_share):
            return weights
        height, width = image.size_hw_px
        boxes_px = boxes_share * (width, height, width, height)
        for region in image.regions:
            box = trainable_box(region, image.size_hw_px)
            if box is not None and region.weight != 1:
                distances_px = np.abs(boxes_px - box).max(axis=1)
                nearest = int(distances_px.argmin())
                if distances_px[nearest] <= SAME_BOX_PX:
                    weights[nearest] = region.weight
        return weights


def _by_picture(kept: LabelSet) -> dict[Path, AnnotatedImage]:
    return {
        (kept.root / image.file_name).resolve(): image
        for image in kept.images
        if any(region.weight != 1 or region.review == "queued" for region in image.regions)
    }
