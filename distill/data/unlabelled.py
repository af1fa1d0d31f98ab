"""Gather images to learn features from: simulated cloth and folders of any cloth, without their labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from distill.data.dataset import Dataset, LabelledImage
from distill.data.simulated import UNKNOWN_SCALE_MM_PER_PX, simulated_dataset
from distill.settings.feature_pretraining import FeaturePretraining
from edge.cameras.folder import list_images
from edge.core.errors import DatasetError
from edge.core.taxonomy import Taxonomy

HELD_OUT_FRACTION = 0.1
"""Of the images of a folder, the last ones: neighbours in a recording are alike, and one must not vouch for
another."""


def unlabelled_dataset(
    settings: FeaturePretraining, mm_per_px: float | None, folder: Path, taxonomy: Taxonomy
) -> Dataset:
    """Return images without labels; those of `val` are held out.

    Args:
        mm_per_px: of the data set that is trained on later; None if not known.
        folder: of the simulated data set; it is woven where it is not there yet.
    Raises:
        OutputError, CameraNotFoundError, NoImagesError, DatasetError: as `simulated_dataset`.
        DatasetError: if there are too few images to hold one out.
    """
    train, held_out = _of_folders(settings)
    if settings.woven is not None:
        scale = {"mm_per_px": mm_per_px or UNKNOWN_SCALE_MM_PER_PX}
        woven = simulated_dataset(settings.woven.model_copy(update=scale), folder, taxonomy)
        train += [_unlabelled(image.path) for image in woven.train]
        held_out += [_unlabelled(image.path) for image in woven.val]
    return Dataset(folder, tuple(train), tuple(held_out), mm_per_px)


def check_folders(settings: FeaturePretraining) -> None:
    """See that the folders can be learnt from, before anything is written.

    Raises:
        CameraNotFoundError, NoImagesError: as `list_images`.
        DatasetError: as `unlabelled_dataset`.
    """
    _of_folders(settings)


def _of_folders(settings: FeaturePretraining) -> tuple[list[LabelledImage], list[LabelledImage]]:
    train: list[LabelledImage] = []
    held_out: list[LabelledImage] = []
    for folder in settings.folders:
        images = [_unlabelled(path) for path in list_images(folder)]
        kept = len(images) - max(round(HELD_OUT_FRACTION * len(images)), min(1, len(images) - 1))
        train += images[:kept]
        held_out += images[kept:]
    if settings.woven is None and not held_out:
        raise DatasetError(
            "No image can be held out: each folder of [feature_pretraining] holds one alone.",
            "Put more images into one of them.",
        )
    return train, held_out


def _unlabelled(path: Path) -> LabelledImage:
    return LabelledImage(path, np.zeros((0, 4)), np.zeros(0, np.int64))
