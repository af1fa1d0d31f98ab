from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import replace

import numpy as np
import pytest

from distill.data.dataset import load_dataset, read_labelled
from distill.labels.formats import yolo
from distill.labels.formats.registry import read_labels
from edge.core.errors import DatasetError, OutputError
from tests.unit.distill.labels.label_sets import (
    CLASSES,
    TAXONOMY,
    everything,
    label_set,
    region,
    rich_set,
    write_image,
    write_images,
)


@pytest.fixture
def root(tmp_path):
    return write_images(tmp_path / "images")


@pytest.fixture
def data(root, tmp_path):
    yolo.write(replace(rich_set(root), mm_per_px=0.2), tmp_path / "data")
    return tmp_path / "data"


def test_distill_takes_it_as_it_is(data):
    found = load_dataset(data, CLASSES)
    assert (len(found.train), len(found.val), found.mm_per_px) == (2, 1, 0.2)
    copied = next(item for item in found.train if item.path.name == "0 (1).jpg")
    assert [CLASSES[number] for number in copied.class_ids] == ["drop", "broken"]
    boxes = copied.boxes_xyxy_px(read_labelled(copied.path))
    assert boxes == pytest.approx(np.array([[146.4, 24.05, 149.6, 25.05], [100, 0, 103, 50]]), abs=1e-4)


def test_images_without_defects_have_empty_labels(data):
    assert (data / "labels/train/0001.txt").read_text() == ""


def test_the_coco_file_knows_the_rest(data):
    coco = json.loads((data / "annotations/val.json").read_text(encoding="utf-8"))
    [annotation] = coco["annotations"]
    assert annotation["label"] == "折痕 <1> | crease | wrinkle"
    assert (annotation["score"], annotation["annotator"], annotation["review"]) == (
        1 / 3,
        "张三",
        "accepted",
    )
    assert coco["images"][0]["group"] == "roll rol"
    train = json.loads((data / "annotations/train.json").read_text(encoding="utf-8"))
    assert [a["review"] for a in train["annotations"]] == ["unreviewed", "rejected", "corrected"]
    assert [a["weight"] for a in train["annotations"]] == [0.5, 1.0, 1.0]


def test_the_manifest_vouches_for_every_file(data):
    files = json.loads((data / "manifest.json").read_text(encoding="utf-8"))["files"]
    there = {p.relative_to(data).as_posix() for p in data.rglob("*") if p.is_file()} - {"manifest.json"}
    assert set(files) == there
    for name, digest in files.items():
        assert hashlib.sha256((data / name).read_bytes()).hexdigest() == digest


def test_the_same_set_gives_the_same_files(root, data, tmp_path):
    yolo.write(replace(rich_set(root), mm_per_px=0.2), tmp_path / "again")
    assert (tmp_path / "again/manifest.json").read_bytes() == (data / "manifest.json").read_bytes()


def test_a_box_that_was_moved_counts_where_it_is_now(data):
    file = data / "labels/train/0 (1).txt"
    first, _ = file.read_text().splitlines()
    file.write_text(f"{first}\n2 0.5 0.5 0.1 0.1\n")
    label_set_ = read_labels(data, TAXONOMY)
    assert "no longer in the label file" in label_set_.problems["labels/train/0 (1).txt"]
    image = next(image for image in label_set_.images if "0 (1)" in image.file_name)
    assert [(found.label, found.score, found.review) for found in image.regions] == [
        ("drop", 0.875, "unreviewed"),
        ("drop", 0.1, "rejected"),
        ("broken", None, "unreviewed"),
    ]


def test_a_number_that_means_another_class_by_name_is_named(data):
    file = data / "labels/train/0 (1).txt"
    file.write_text(file.read_text().replace("1 0.", "0 0.", 1))
    problems = read_labels(data, TAXONOMY).problems
    assert problems == {"labels/train/0 (1).txt": "a box is 'wrinkle' by its number and 'drop' by name"}


def test_classes_txt_in_another_order_is_named(data):
    (data / "classes.txt").write_text("drop\nbroken\nwrinkle\n")
    assert "data.yaml wrinkle, drop, broken" in read_labels(data, TAXONOMY).problems["classes.txt"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        pytest.param(
            "3 0.5 0.5 0.1 0.1", "class 3 has no name in data.yaml (3 names, from 0)", id="id-beyond"
        ),
        pytest.param("-1 0.5 0.5 0.1 0.1", "class -1", id="id-negative"),
        pytest.param("drop 0.5 0.5 0.1 0.1", "class drop", id="name-for-id"),
        pytest.param("1 0.5 0.5 0.1", "is not: class", id="too-few"),
        pytest.param("1 0.5 0.5 0.1 x", "could not convert", id="no-number"),
        pytest.param("1 0.5 0.5 0.1 inf", "not finite", id="infinite"),
    ],
)
def test_a_bad_row_is_one_line_and_the_others_are_read(data, row, said):
    (data / "labels/train/0001.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{row}\n")
    label_set_ = read_labels(data, TAXONOMY)
    assert said in label_set_.problems["labels/train/0001.txt"]
    assert label_set_.problems["labels/train/0001.txt"].startswith("line 2: ")
    [image] = label_set_.left_out
    assert (image.file_name, image.unread) == ("images/train/0001.bmp", 1)
    assert [found.label for found in image.regions] == ["wrinkle"]


def test_a_row_with_an_outline(data):
    (data / "labels/train/0001.txt").write_text("1 0.1 0.5 0.2 0.5 0.2 1\n")
    image = next(image for image in read_labels(data, TAXONOMY).images if "0001" in image.file_name)
    assert image.regions[0].box_xyxy_px == pytest.approx((33, 10, 66, 20))
    assert len(image.regions[0].polygon_xy_px) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("a: [b", "not valid YAML", id="no-yaml"),
        pytest.param("a: 2001-99-99", "not valid YAML", id="no-date"),
        pytest.param("[" * 5000, "not valid YAML", id="nested-without-end"),
        pytest.param("text", "holds no keys", id="no-keys"),
        pytest.param("train: images/train", "names no classes", id="no-names"),
        pytest.param("names: [drop]", "no folder of images", id="no-folder"),
        pytest.param("names: {1000000000: drop}", "numbers its classes", id="huge-number"),
    ],
)
def test_a_bad_data_yaml_is_refused(data, text, said):
    (data / "data.yaml").write_text(text)
    with pytest.raises(DatasetError, match=said):
        yolo.read(data)


def test_labels_without_an_image_are_named(data):
    (data / "images/train/0001.bmp").unlink()
    (data / "labels/val/old.txt").write_text("")
    assert sorted(read_labels(data, TAXONOMY).problems) == [
        "images/train/0001.bmp",
        "labels/train/0001.txt",
        "labels/val/old.txt",
    ]


def test_a_damaged_coco_file_is_one_line_and_its_images_are_left_out(data):
    (data / "annotations/train.json").write_text("{")
    label_set_ = read_labels(data, TAXONOMY)
    assert list(label_set_.problems) == ["annotations/train.json"]
    assert {image.split for image in label_set_.left_out} == {"train"}
    assert {image.split for image in label_set_.images} == {"val", "test"}


def test_a_bad_image_is_left_out_and_named(root, tmp_path):
    (root / "0001.bmp").write_bytes(b"no image")
    left_out = yolo.write(rich_set(root), tmp_path / "data").left_out
    assert list(left_out) == ["0001.bmp"]
    assert len(load_dataset(tmp_path / "data", CLASSES).train) == 1
    assert not list((tmp_path / "data").rglob("0001*"))


def test_an_image_that_trainers_would_skip_is_left_out(root, tmp_path):
    (root / "0001.bmp").rename(root / "0001.gif")
    good = rich_set(root)
    images = tuple(replace(i, file_name=i.file_name.replace("0001.bmp", "0001.gif")) for i in good.images)
    left_out = yolo.write(replace(good, images=images), tmp_path / "data").left_out
    assert left_out == {"0001.gif": "'.gif' is no suffix of an image"}


def test_an_image_of_another_size_is_left_out(root, tmp_path):
    write_image(root / "0001.bmp", (9, 9))
    left_out = yolo.write(rich_set(root), tmp_path / "data").left_out
    assert left_out == {"0001.bmp": "is 9 x 9 pixels, its labels are for 330 x 20"}


def test_boxes_are_made_fit_for_training(root, tmp_path):
    boxes = {
        "0001.bmp": (
            region(box=(-5.0, -5.0, 10.0, 10.0)),
            region(box=(50.0, 15.0, 40.0, 5.0)),
        )
    }
    assert yolo.write(label_set(root, boxes), tmp_path / "data").left_out == {}
    copied = next(p for p in load_dataset(tmp_path / "data", CLASSES).train if "0001" in p.path.name)
    found = copied.boxes_xyxy_px(read_labelled(copied.path)).tolist()
    assert found == [pytest.approx([0, 0, 10, 10]), pytest.approx([40, 5, 50, 15])]
    again = read_labels(tmp_path / "data", TAXONOMY)
    found = [r.box_xyxy_px for image in everything(again) for r in image.regions]
    assert found == [(-5, -5, 10, 10), (40, 5, 50, 15)]


def test_an_image_with_a_box_outside_of_it_waits_and_is_not_clean(root, tmp_path):
    boxes = {"0001.bmp": (region(box=(400.0, 0.0, 500.0, 9.0)),)}
    written = yolo.write(label_set(root, boxes), tmp_path / "data")
    assert "400, 0, 500, 9: nothing of it is inside" in written.left_out["0001.bmp"]
    assert [r.review for image in written.labels.images for r in image.regions] == ["queued"]
    assert [p.path.name for p in load_dataset(tmp_path / "data", CLASSES).train] == ["0 (1).jpg"]
    [again] = [image for image in read_labels(tmp_path / "data", TAXONOMY).images if image.regions]
    assert [(r.box_xyxy_px, r.review) for r in again.regions] == [((400.0, 0.0, 500.0, 9.0), "queued")]


def test_a_queued_box_waits_beside_the_labels(root, tmp_path):
    boxes = {"0001.bmp": (region(review="queued", score=0.5), region(box=(40.0, 5.0, 50.0, 15.0)))}
    assert yolo.write(label_set(root, boxes), tmp_path / "data").left_out == {}
    assert len((tmp_path / "data/labels/train/0001.txt").read_text().splitlines()) == 1
    again = read_labels(tmp_path / "data", TAXONOMY)
    assert again.problems == {}
    assert [r for image in again.images for r in image.regions] == list(boxes["0001.bmp"])


def test_no_split_no_data_set(root, tmp_path):
    images = tuple(replace(image, split=None) for image in rich_set(root).images)
    with pytest.raises(DatasetError, match="in no split"):
        yolo.write(replace(rich_set(root), images=images), tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_two_images_with_one_label_file_are_refused(root, tmp_path):
    write_image(root / "0001.png", (20, 330))
    images = rich_set(root).images
    twin = replace(next(i for i in images if i.file_name == "0001.bmp"), file_name="0001.png")
    with pytest.raises(DatasetError, match="share one label file"):
        yolo.write(replace(rich_set(root), images=(*images, twin)), tmp_path / "data")


def test_images_of_a_split_lie_in_one_folder(root, tmp_path):
    written = yolo.write(rich_set(root), tmp_path / "data")
    names = [f"images/{i.split}/{i.file_name.rpartition('/')[2]}" for i in rich_set(root).images]
    assert [image.file_name for image in written.labels.images] == names
    assert {
        p.relative_to(tmp_path / "data").as_posix() for p in (tmp_path / "data/images").glob("*/*")
    } == {*names}


def test_no_row_holds_a_power_of_ten(root, tmp_path):
    boxes = {"0001.bmp": (region(box=(0.0, 0.0, 0.001, 0.0001)),)}
    yolo.write(label_set(root, boxes), tmp_path / "data")
    _, *fractions = (tmp_path / "data/labels/train/0001.txt").read_text().split()
    assert [fraction.replace(".", "").isdecimal() for fraction in fractions] == [True] * 4
    assert list(map(float, fractions)) == pytest.approx(
        [0.0005 / 330, 0.00005 / 20, 0.001 / 330, 0.0001 / 20]
    )


def test_names_that_clash_in_a_split_get_their_folders(tmp_path):
    for split in ("train", "val"):
        write_image(tmp_path / "images" / split / "a.png", (9, 9))
    base = label_set(tmp_path).images[0]
    images = tuple(
        replace(base, file_name=f"images/{split}/a.png", size_hw_px=(9, 9), regions=(), split="train")
        for split in ("train", "val")
    )
    yolo.write(replace(label_set(tmp_path), images=images), tmp_path / "data")
    assert sorted(p.name for p in (tmp_path / "data/images/train").iterdir()) == [
        "a-train.png",
        "a-val.png",
    ]
    assert len(read_labels(tmp_path / "data", TAXONOMY).images) == 2


def test_a_name_cannot_lead_out_of_the_folder(root, tmp_path):
    outside = write_image(tmp_path / "outside.png", (20, 330))
    base = label_set(root).images[0]
    image = replace(base, file_name=f"../{outside.name}", size_hw_px=(20, 330), split="train")
    yolo.write(replace(label_set(root), images=(image,)), tmp_path / "data")
    assert (tmp_path / "data/images/train/outside.png").is_file()


def test_a_folder_that_holds_something_is_refused(root):
    with pytest.raises(OutputError, match="not empty"):
        yolo.write(rich_set(root), root)


def test_a_missing_split_is_said(root, tmp_path, caplog):
    images = tuple(replace(image, split="train") for image in rich_set(root).images)
    with caplog.at_level(logging.WARNING):
        yolo.write(replace(rich_set(root), images=images), tmp_path / "data")
    assert "no image in val" in caplog.text
