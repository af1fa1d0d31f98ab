from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from distill.data.dataset import check_classes, load_dataset, read_labelled
from edge.core.errors import DatasetError
from tests.unit.distill.tiny import CLASSES, tiny_dataset, write_tiny_dataset


def test_a_good_data_set_is_read(tmp_path):
    data = tiny_dataset(tmp_path / "data")
    assert (len(data.train), len(data.val), data.mm_per_px) == (12, 4, 0.2)
    first = data.train[0]
    assert [CLASSES[i] for i in first.class_ids] == ["drop", "broken"]
    boxes = first.boxes_xyxy_px(read_labelled(first.path))
    assert boxes[0, 2] - boxes[0, 0] == pytest.approx(18, abs=0.01)
    assert boxes[1, 1::2].tolist() == pytest.approx([0, 64])


def test_classes_are_mapped_by_name_not_by_number(tmp_path):
    data = tiny_dataset(tmp_path / "data", names=("drop", "broken", "wrinkle"))
    assert [CLASSES[i] for i in data.train[0].class_ids] == ["drop", "broken"]


def test_an_image_without_labels_has_no_defects(tmp_path):
    folder = write_tiny_dataset(tmp_path / "data")
    (folder / "labels" / "train" / "000.txt").unlink()
    assert not len(load_dataset(folder, CLASSES).train[0].class_ids)


def test_a_box_that_is_cut_at_the_edge_is_said(tmp_path, caplog):
    folder = write_tiny_dataset(tmp_path)
    for name in ("000", "001"):
        (folder / f"labels/train/{name}.txt").write_text("1 0.95 0.5 0.2 0.2\n")
    with caplog.at_level("INFO"):
        first = load_dataset(folder, CLASSES).train[0]
    assert first.boxes_xyxy_norm == pytest.approx(np.array([[0.85, 0.4, 1.0, 0.6]]))
    assert (
        "images/train/000.png: box 1, drop: reaches over the edge, and is cut there; 1 more" in caplog.text
    )


LABEL = "labels/train/000.txt"
NAMES = "names: [wrinkle, drop, broken]"
SPLITS = "train: images/train\nval: images/val\n"


def remove_yaml(folder):
    (folder / "data.yaml").unlink()


def remove_images(folder):
    shutil.rmtree(folder / "images" / "val")


def empty_images(folder):
    remove_images(folder)
    (folder / "images" / "val").mkdir()


def write(name, text):
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        pytest.param(remove_yaml, "data.yaml", id="no-data-yaml"),
        pytest.param(write("data.yaml", "a: [b"), "not valid YAML", id="yaml-broken"),
        pytest.param(write("data.yaml", "just text"), "holds no keys", id="yaml-not-a-table"),
        pytest.param(write("data.yaml", "train: a\nval: b"), "names no classes", id="no-names"),
        pytest.param(write("data.yaml", f"{NAMES}\ntrain: images/train"), "'val'", id="no-val"),
        pytest.param(write("data.yaml", SPLITS + NAMES.replace("drop", "hole")), "'hole'", id="unknown"),
        pytest.param(remove_images, "no images in the split 'val'", id="missing-folder"),
        pytest.param(empty_images, "no images in the split 'val'", id="no-images"),
        pytest.param(write(LABEL, "1 0.5 0.5 0.1"), "line 1", id="too-few-numbers"),
        pytest.param(write(LABEL, "1 a 0.5 0.1 0.1"), "could not convert", id="not-a-number"),
        pytest.param(write(LABEL, "\n1 0.5 0.5 1.2 0.1"), "line 2", id="outside"),
        pytest.param(write(LABEL, "1 0.5 0.5 0 0.1"), "000.png", id="no-area"),
        pytest.param(write(LABEL, "1 nan 0.5 0.1 0.1"), "not finite", id="nan"),
        pytest.param(write(LABEL, "9 0.5 0.5 0.1 0.1"), "class 9", id="unknown-number"),
        pytest.param(write("simulation.json", "{}"), "mm_per_px", id="simulation-without-scale"),
        pytest.param(write("simulation.json", '{"mm_per_px": -1}'), "above 0", id="scale-below-0"),
        pytest.param(
            write("simulation.json", '{"mm_per_px": 1' + 400 * "0" + "}"), "mm_per_px", id="scale-too-long"
        ),
    ],
)  # fmt: skip
def test_damage_is_a_data_set_error_on_one_line(tmp_path, damage, said):
    folder = write_tiny_dataset(tmp_path / "data")
    damage(folder)
    with pytest.raises(DatasetError) as caught:
        load_dataset(folder, CLASSES)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not an image", None], ids=["empty", "garbage", "truncated"])
def test_unreadable_images_are_data_set_errors(tmp_path, content):
    image = write_tiny_dataset(tmp_path / "data") / "images/train/000.png"
    image.write_bytes(image.read_bytes()[:2000] if content is None else content)
    with pytest.raises(DatasetError, match=r"000\.png"):
        read_labelled(image)


def test_classes_that_no_image_shows_are_named(tmp_path, caplog):
    data = tiny_dataset(tmp_path / "data")
    check_classes(data, CLASSES)
    unseen = ", ".join(label for label in CLASSES if label not in ("drop", "broken"))
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        f"no box of {unseen} in train",
        f"no box of {unseen} in val",
    ]


def test_a_training_split_without_any_defect_is_refused(tmp_path):
    data = tiny_dataset(tmp_path / "data")
    bare = replace(data, train=tuple(image for image in data.train if not len(image.class_ids)))
    with pytest.raises(DatasetError, match="shows a defect"):
        check_classes(bare, CLASSES)
