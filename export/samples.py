"""Choose real images to compare models on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.cameras.folder import image_files
from edge.core.contract import ModelContract
from edge.core.errors import NoImagesError
from edge.core.geometry import plan_views
from edge.core.image_file import read_image
from edge.inference.preprocess import Preprocessor

MIN_TILES = 8
MAX_TILES = 64
MAX_IMAGES = 16
"""Enough to see a difference, few enough to take seconds."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Hold images and tiles of them.

    Attributes:
        images: files, spread over the folder.
        tiles_nchw: (N, channels, H, W) float32, as the network sees them; from all images in turn.
    """

    images: tuple[Path, ...]
    tiles_nchw: NDArray[np.float32]


def load_samples(folder: Path, contract: ModelContract) -> Samples:
    """Take samples from a folder of images and the folders below it.

    Raises:
        NoImagesError: if it has too few.
        ImageError: if one cannot be read.
    """
    files = image_files(folder)
    step = max(1, len(files) // MAX_IMAGES)
    images = tuple(files[::step][:MAX_IMAGES])
    in_turn = tiles_in_turn([(path, None) for path in images], contract, MAX_TILES)
    if len(in_turn) < MIN_TILES:
        raise NoImagesError(
            f"The images in {folder} give {len(in_turn)} tiles; the comparison needs {MIN_TILES}.",
            "Name a folder with more or larger images of cloth, such as the data set's images.",
        )
    return Samples(images, np.stack(in_turn[:MAX_TILES]))


def tiles_in_turn(
    images: Iterable[tuple[Path, float | None]], contract: ModelContract, most: int
) -> list[NDArray[np.float32]]:
    """Cut images, each with its millimetres per pixel, as the edge would: a tile of each in turn.

    Args:
        most: tiles of one image.
    Raises:
        ImageError: if an image cannot be read.
    """
    preprocessor = Preprocessor(contract)
    per_image = []
    for path, mm_per_px in images:
        image = read_image(path)
        views = plan_views((image.shape[0], image.shape[1]), contract, mm_per_px)
        per_image.append([preprocessor.batch(image, [view])[0].copy() for view in views[:most]])
    return [tile for row in zip_longest(*per_image) for tile in row if tile is not None]
