"""Files of other programs: what they know beside the reviewed images stays."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from distill.labels.review.rewriting import update_manifest, with_images, write_coco_files, write_label_file
from distill.labels.sets.annotations import LabelSet
from edge.core.errors import DatasetError
from edge.core.files import file_digest
from tests.unit.distill.labels.review.folders import (
    CLASSES,
    CLEAN,
    EASY,
    HARD,
    UNSURE,
    label_set,
    regions_in,
    write_folder,
)


def only(name, *regions):
    image = next(image for image in label_set().images if image.file_name == name)
    return replace(label_set(), images=(replace(image, regions=regions),))


OTHERS = {
    "info": {"year": 2020},
    "licenses": [1],
    "categories": [{"id": 7, "name": "drop"}, {"id": 3, "name": "hole"}],
    "images": [
        {"id": 90, "file_name": HARD, "height": 60, "width": 120, "camera": 4},
        {"id": 4, "file_name": "x"},
    ],
    "annotations": [
        {"id": 5, "image_id": 90, "category_id": 7, "bbox": [0, 0, 1, 1]},
        {"id": 11, "image_id": 4, "category_id": 3, "bbox": [0, 0, 1, 1], "segmentation": {"counts": "x"}},
    ],
}


def test_another_programs_numbers_and_images_stay():
    found = with_images(
        OTHERS, only(HARD, replace(UNSURE, review="accepted"), replace(UNSURE, label="broken"))
    )
    assert (found["info"], found["licenses"], found["images"]) == (
        OTHERS["info"],
        OTHERS["licenses"],
        OTHERS["images"],
    )
    assert found["annotations"][0] == OTHERS["annotations"][1]
    new = found["annotations"][1:]
    assert [(row["id"], row["image_id"]) for row in new] == [(12, 90), (13, 90)]
    names = {row["id"]: row["name"] for row in found["categories"]}
    assert [names[row["category_id"]] for row in new] == ["drop", "broken"]
    assert names[7] == "drop"
    assert names[3] == "hole"
    assert len(names) == len(found["categories"])


def test_an_image_that_a_file_does_not_list_is_added():
    found = with_images(OTHERS, only(EASY, UNSURE))
    assert found["images"][-1]["file_name"] == EASY
    assert found["annotations"][-1]["image_id"] == found["images"][-1]["id"] == 91


def test_doing_it_twice_changes_nothing_but_numbers():
    once = with_images(OTHERS, only(HARD, UNSURE))
    twice = with_images(once, only(HARD, UNSURE))
    assert [{**row, "id": 0} for row in twice["annotations"]] == [
        {**row, "id": 0} for row in once["annotations"]
    ]


def test_a_data_set_without_coco_files_gets_one_for_the_split(tmp_path):
    folder = write_folder(tmp_path / "data")
    for file in (folder / "annotations").iterdir():
        file.unlink()
    reviewed = replace(only(EASY, replace(UNSURE, review="rejected")), root=folder)
    assert write_coco_files(reviewed, [EASY]) == [folder / "annotations/val.json"]
    [annotation] = json.loads((folder / "annotations/val.json").read_text(encoding="utf-8"))["annotations"]
    assert annotation["review"] == "rejected"
    assert not (folder / "annotations/train.json").exists()


def test_a_damaged_coco_file_stays_and_is_named(tmp_path):
    folder = write_folder(tmp_path / "data")
    (folder / "annotations/train.json").write_text('{"images": 3}')
    with pytest.raises(DatasetError, match="no COCO file"):
        write_coco_files(replace(label_set(folder)), [HARD])
    assert (folder / "annotations/train.json").read_text() == '{"images": 3}'


def test_a_label_file_holds_what_is_trained_on_and_lines_that_are_no_label_stay(tmp_path):
    folder = write_folder(tmp_path / "data")
    path = folder / "labels/train/d.txt"
    path.write_text("1 0.5 0.5 0.1 0.1\n1 0.5 oops\n9 0.5 0.5 0.1 0.1\n")
    regions = (replace(UNSURE, review="accepted"), UNSURE, replace(UNSURE, review="rejected"))
    image = only(CLEAN, *regions).images[0]
    assert write_label_file(folder, image, CLASSES) == path
    first, *rest = path.read_text().splitlines()
    assert first.split() == ["1", "0.25", "0.333333333333333", "0.166666666666667", "0.333333333333333"]
    assert rest == ["1 0.5 oops", "9 0.5 0.5 0.1 0.1"]


def test_the_manifest_vouches_for_what_was_written(tmp_path):
    folder = write_folder(tmp_path / "data")
    before = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    file = folder / "labels/train/d.txt"
    file.write_text("")
    (folder / "labels/train/c.txt").write_text("not named to it\n")
    update_manifest(folder, [file, tmp_path / "outside.txt"])
    after = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert after["files"].pop("labels/train/d.txt") == file_digest(file)
    before["files"].pop("labels/train/d.txt")
    assert after == before


def test_without_a_manifest_none_is_made(tmp_path):
    update_manifest(tmp_path, [])
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_that_is_none_is_named(tmp_path):
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(DatasetError, match="lists no files"):
        update_manifest(tmp_path, [])


def test_the_folder_of_the_tests_reads_back(tmp_path):
    folder = write_folder(tmp_path / "data")
    found: LabelSet = label_set(folder)
    assert regions_in(folder, HARD) == next(i.regions for i in found.images if i.file_name == HARD)
