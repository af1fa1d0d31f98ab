"""Images to learn features from: woven, out of folders, or both, and which of them are held out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from distill.data.unlabelled import check_folders, unlabelled_dataset
from distill.settings.feature_pretraining import DEFAULT_SIMULATION, FeaturePretraining
from edge.core.errors import CameraNotFoundError, DatasetError, NoImagesError
from edge.core.taxonomy import load_taxonomy

WOVEN = {"images": 4, "size_hw": (128, 128), "split": {"train": 0.5, "val": 0.5}, "mm_per_px": 1.0}


def folder_of(path, count):
    path.mkdir()
    for number in range(count):
        cv2.imwrite(str(path / f"{number}.png"), np.full((40, 40), number, np.uint8))
    return path


def names(images):
    return [image.path.name for image in images]


def dataset(tmp_path, mm_per_px=0.3, **settings):
    return unlabelled_dataset(
        FeaturePretraining(**settings), mm_per_px, tmp_path / "woven", load_taxonomy()
    )


def test_the_last_tenth_of_each_folder_is_held_out(tmp_path):
    folders = (folder_of(tmp_path / "a", 21), folder_of(tmp_path / "b", 3))
    data = dataset(tmp_path, folders=folders)
    assert names(data.val) == ["19.png", "20.png", "2.png"]
    assert len(data.train) == 21
    assert data.mm_per_px == 0.3
    assert not (tmp_path / "woven").exists()


def test_the_only_image_of_a_folder_is_learnt_from(tmp_path):
    data = dataset(tmp_path, folders=(folder_of(tmp_path / "a", 1), folder_of(tmp_path / "b", 2)))
    assert (names(data.train), names(data.val)) == (["0.png", "0.png"], ["1.png"])


def test_simulated_cloth_is_woven_at_the_scale_of_the_data_set_and_comes_without_labels(tmp_path):
    data = dataset(tmp_path, folders=(folder_of(tmp_path / "a", 2),), simulation=WOVEN)
    assert (len(data.train), len(data.val)) == (1 + 2, 1 + 2)
    assert '"mm_per_px": 0.3' in (tmp_path / "woven/simulation.json").read_text()
    assert not any(len(image.class_ids) for image in data.train + data.val)


def test_without_a_word_simulated_cloth_is_woven_and_beside_folders_it_is_not(tmp_path):
    assert FeaturePretraining().woven == DEFAULT_SIMULATION
    assert FeaturePretraining(folders=(tmp_path,)).woven is None
    assert FeaturePretraining(folders=(tmp_path,), simulation=WOVEN).woven is not None


@pytest.mark.parametrize(
    ("count", "error", "said"),
    [
        (None, CameraNotFoundError, "cloth"),
        (0, NoImagesError, "no images"),
        (1, DatasetError, "held out"),
    ],
    ids=["missing", "empty", "one-image"],
)
def test_folders_that_give_nothing_are_refused(tmp_path, count, error, said):
    if count is not None:
        folder_of(tmp_path / "cloth", count)
    with pytest.raises(error, match=said):
        check_folders(FeaturePretraining(folders=(tmp_path / "cloth",)))
