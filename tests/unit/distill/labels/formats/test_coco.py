from __future__ import annotations

import json

import pytest

from distill.labels.formats import coco
from distill.labels.formats.registry import read_labels
from edge.core.errors import DatasetError, OutputError
from tests.unit.distill.labels.label_sets import (
    TAXONOMY,
    everything,
    rich_set,
    write_image,
    write_images,
)

IMAGE = {"id": 7, "file_name": "a.png", "height": 50, "width": 200}
BOX = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4]}
CONTENT = {"images": [IMAGE], "categories": [{"id": 3, "name": "drop"}], "annotations": [BOX]}


def read(folder, content):
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "labels.json").write_text(text, encoding="utf-8")
    return read_labels(folder / "labels.json", TAXONOMY)


def changed(**values):
    return {**CONTENT, "annotations": [{**BOX, **values}, BOX]}


def test_another_programs_file(tmp_path):
    write_image(tmp_path / "images" / "a.png", (50, 200))
    label_set = read(tmp_path, CONTENT)
    assert label_set.root == tmp_path / "images"
    [image] = label_set.images
    assert [(found.label, found.box_xyxy_px) for found in image.regions] == [("drop", (1, 2, 4, 6))]


@pytest.mark.parametrize(
    "segmentation",
    [
        pytest.param([], id="none"),
        pytest.param({"size": [50, 200], "counts": [10000]}, id="run-lengths"),
        pytest.param([[1, 2, 3]], id="too-short"),
        pytest.param([[0, 0, 9, 0, 9, 9], [1, 1, 2, 1, 2, 2]], id="several-pieces"),
        pytest.param([7], id="nonsense"),
    ],
)
def test_masks_that_are_no_outline_leave_the_box(tmp_path, segmentation):
    label_set = read(tmp_path, changed(segmentation=segmentation))
    assert dict(label_set.problems) == {}
    assert label_set.images[0].regions[0] == label_set.images[0].regions[1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(changed(bbox=[1, 2, 3]), "4 numbers, not 3", id="short-box"),
        pytest.param(changed(bbox=["a", 2, 3, 4]), "could not convert", id="text-in-box"),
        pytest.param(changed(bbox=None), "neither a box nor", id="no-box"),
        pytest.param(changed(category_id=9), "category 9 has no name", id="unknown-category"),
        pytest.param(changed(score=7), "score '7'", id="score"),
        pytest.param(changed(image_id=9), "image 9, which is not listed", id="no-such-image"),
        pytest.param({**CONTENT, "images": [IMAGE, {"id": 8}]}, "name and size", id="nameless-image"),
    ],
)
def test_a_bad_row_is_one_line_and_the_others_are_read(tmp_path, content, said):
    label_set = read(tmp_path, content)
    assert everything(label_set)[0].regions[-1].box_xyxy_px == (1, 2, 4, 6)
    [line] = label_set.problems.values()
    assert said in line


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param("{", "not valid JSON", id="truncated"),
        pytest.param("[" * 100_000, "not valid JSON", id="nested-without-end"),
        pytest.param({"images": []}, "no COCO file", id="no-lists"),
        pytest.param({**CONTENT, "images": [1]}, "no COCO file", id="numbers-for-images"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, content, said):
    (tmp_path / "labels.json").write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DatasetError, match=said):
        coco.read(tmp_path / "labels.json")


def test_a_file_that_exists_is_not_replaced(tmp_path):
    target = tmp_path / "labels.json"
    target.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        coco.write(rich_set(write_images(tmp_path / "images")), target)
    assert target.read_text() == "mine"


def test_the_area_of_an_outline(tmp_path):
    coco.write(rich_set(write_images(tmp_path / "images")), tmp_path / "labels.json")
    content = json.loads((tmp_path / "labels.json").read_text(encoding="utf-8"))
    [outline] = [row for row in content["annotations"] if row["segmentation"]]
    assert outline["area"] == pytest.approx(311.25)
