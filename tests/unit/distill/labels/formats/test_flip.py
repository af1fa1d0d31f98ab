from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.labels.checks.check import check
from distill.labels.formats.flip import flipped_region, write_flipped
from distill.labels.formats.registry import read_labels
from distill.labels.sets.image_files import decoded
from edge.core.errors import DatasetError
from tests.unit.distill.labels.label_sets import (
    TAXONOMY,
    label_set,
    region,
    regions,
    rich_set,
    write_images,
)

SIZE = (50, 200)


@given(regions(SIZE), st.sampled_from(["horizontal", "vertical"]))
def test_flipping_twice_is_nothing(drawn, direction):
    again = flipped_region(flipped_region(drawn, SIZE, direction), SIZE, direction)
    assert again.box_xyxy_px == pytest.approx(drawn.box_xyxy_px, abs=1e-9)
    for corner, corner_again in zip(drawn.polygon_xy_px or (), again.polygon_xy_px or (), strict=True):
        assert corner_again == pytest.approx(corner, abs=1e-9)
    assert (again.label, again.score, again.review) == (drawn.label, drawn.score, drawn.review)


@pytest.mark.parametrize("direction", ["horizontal", "vertical"])
def test_boxes_go_with_the_image(tmp_path, direction):
    """A white rectangle is flipped as an image and as a box."""
    root = write_images(tmp_path / "images")
    image = np.zeros((20, 330), np.uint8)
    image[2:7, 10:50] = 255
    (root / "0001.bmp").write_bytes(cv2.imencode(".bmp", image)[1].tobytes())
    good = label_set(root, {"0001.bmp": (region(box=(10.0, 2.0, 50.0, 7.0)),)})
    assert write_flipped(good, tmp_path / "data", [direction]).left_out == {}
    again = read_labels(tmp_path / "data", TAXONOMY)
    name = f"images/train/0001_{direction[0]}.png"
    copy = next(image for image in again.images if image.file_name == name)
    x1, y1, x2, y2 = (round(side) for side in copy.regions[0].box_xyxy_px)
    white = decoded(again.root / name) == 255
    assert white[y1:y2, x1:x2].all()
    assert white.sum() == (y2 - y1) * (x2 - x1)


def test_training_images_alone_are_flipped_and_groups_are_kept(tmp_path):
    good = rich_set(write_images(tmp_path / "images"))
    write_flipped(good, tmp_path / "data", ["horizontal", "vertical"])
    again = read_labels(tmp_path / "data", TAXONOMY)
    names = sorted(image.file_name for image in again.images if image.split == "train")
    assert names == [
        "images/train/0 (1).jpg",
        "images/train/0 (1)_h.png",
        "images/train/0 (1)_v.png",
        "images/train/0001.bmp",
        "images/train/0001_h.png",
        "images/train/0001_v.png",
    ]
    assert len(again.images) == 8
    assert len({image.group for image in again.images if "0 (1)" in image.file_name}) == 1
    assert check(again) == []


def test_flipping_what_was_flipped_is_refused(tmp_path):
    good = rich_set(write_images(tmp_path / "images"))
    write_flipped(good, tmp_path / "data", ["horizontal"])
    with pytest.raises(DatasetError, match="flipped before"):
        write_flipped(read_labels(tmp_path / "data", TAXONOMY), tmp_path / "twice", ["horizontal"])


def test_a_bad_image_is_left_out(tmp_path):
    good = rich_set(write_images(tmp_path / "images"))
    (good.root / "0001.bmp").write_bytes(b"")
    left_out = write_flipped(good, tmp_path / "data", ["horizontal"]).left_out
    assert sorted(left_out) == ["0001.bmp", "0001_h.png"]
