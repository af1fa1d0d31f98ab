"""The commands on labels with objects that cannot be read: named, counted, never clean images."""

from __future__ import annotations

import json

import pytest

from distill.data.dataset import load_dataset
from edge.core.errors import DatasetError
from edge.core.taxonomy import load_taxonomy
from tests.unit.distill.commands.test_labels_cli import labels
from tests.unit.distill.labels.label_sets import write_image

SIZE = "<size><width>90</width><height>40</height></size>"
BOX = "<bndbox><xmin>{}</xmin><ymin>10</ymin><xmax>30</xmax><ymax>30</ymax></bndbox>"
OBJECTS = {
    "a": f"<object><name>drop</name>{BOX.format(10)}</object>",
    "b": f"<object><name>drop</name>{BOX.format('NaN')}</object>",
    "c": f"<object><name>thick place</name>{BOX.format(10)}</object>",
    "d": "<object><name>drop</name></object>",
    "e": "",
}
SHARED = ("--split", "train=0.5,val=0.5", "--group", "(?P<group>.)")


@pytest.fixture
def folder(tmp_path):
    for number, (name, objects) in enumerate(OBJECTS.items()):
        write_image(tmp_path / "images" / f"{name}.png", (40, 90), number)
        text = f"<annotation><filename>{name}.png</filename>{SIZE}{objects}</annotation>"
        (tmp_path / f"{name}.xml").write_text(text)
    return tmp_path


def test_convert_writes_no_image_of_which_an_object_was_not_read(folder, capsys):
    code, out, err = labels(capsys, "convert", folder, *SHARED, "--out", folder / "out")
    rows = {path.stem: path.read_text() for path in (folder / "out" / "labels").rglob("*.txt")}
    assert code == 0
    assert {name: bool(text) for name, text in rows.items()} == {"a": True, "e": False}
    assert "2 images, 1 without a defect, 1 box, train 1, val 1, 3 left out" in out
    named = [line.split(":")[1].strip() for line in err.splitlines() if line.startswith("warning")]
    assert named == ["b.xml", "d.xml", "c.png"]
    assert labels(capsys, "check", folder / "out")[0] == 0


def test_a_folder_of_clean_images_does_not_make_them_clean(folder, capsys):
    clean = ("--clean", folder / "images")
    labels(capsys, "convert", folder, *SHARED, *clean, "--out", folder / "out")
    assert sorted(path.stem for path in (folder / "out" / "images").rglob("*.png")) == ["a", "e"]


@pytest.mark.parametrize("form", ["coco", "cvat", "label-studio", "florence", "voc"])
def test_nor_does_a_way_through_another_form(folder, capsys, form):
    suffix = {"coco": ".json", "cvat": ".xml", "label-studio": ".json", "florence": ".jsonl", "voc": ""}
    between = folder / f"between{suffix[form]}"
    assert labels(capsys, "convert", folder, "--to", form, "--out", between)[0] == 0
    images = ("--pictures", folder / "images")
    labels(capsys, "convert", between, *images, *SHARED, "--out", folder / "out")
    assert sorted(path.stem for path in (folder / "out" / "images").rglob("*.png")) == ["a", "e"]


def test_check_names_each_of_them(folder, capsys):
    code, out, _ = labels(capsys, "check", folder, "--json")
    assert code == 50
    assert {finding["file"] for finding in json.loads(out)} == {"b.xml", "c.png", "d.xml"}


def test_what_is_read_as_something_else_is_noted_and_no_finding(folder, capsys):
    for name in "bcd":
        (folder / f"{name}.xml").unlink()
    place = "<cx>30</cx><cy>20</cy><w>20</w><h>4</h><angle>0.5</angle>"
    turned = f"<object><name>broken</name><robndbox>{place}</robndbox></object>"
    (folder / "b.xml").write_text(f"<annotation><filename>b.png</filename>{SIZE}{turned}</annotation>")
    code, out, err = labels(capsys, "check", folder)
    assert (code, out.startswith("ok: 3 images, 1 without a defect, 2 boxes")) == (0, True)
    assert err.startswith("note: b.xml: object 1: a box turned by")


@pytest.mark.parametrize(("review", "images"), [("rejected", 1), ("queued", 0)])
def test_an_unknown_class_that_a_person_rejected_takes_no_image_away(tmp_path, capsys, review, images):
    write_image(tmp_path / "a.png", (40, 90))
    rows = [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20]},
        {"id": 2, "image_id": 1, "category_id": 2, "bbox": [50, 10, 20, 20], "review": review},
    ]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 40, "width": 90}],
        "annotations": rows,
        "categories": [{"id": 1, "name": "drop"}, {"id": 2, "name": "dust"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    code, out, _ = labels(capsys, "check", tmp_path / "a.json", "--json")
    assert (code, json.loads(out)[0]["detail"][:6]) == (50, "'dust'")
    code, out, _ = labels(capsys, "convert", tmp_path / "a.json", "--to", "voc", "--out", tmp_path / "out")
    assert (code, out.count("1 image, 0 without a defect, 1 box")) == (0 if images else 50, images)


@pytest.mark.parametrize(
    ("corners", "fault"),
    [
        ("<xmax>30</xmax><ymax>10</ymax>", "has no area"),
        ("<xmax>30</xmax><ymax>-5</ymax>", "nothing of it"),
    ],
)
def test_the_message_says_what_is_wrong_with_a_box(folder, capsys, corners, fault):
    box = f"<bndbox><xmin>10</xmin><ymin>{10 if 'area' in fault else -20}</ymin>{corners}</bndbox>"
    text = (
        f"<annotation><filename>a.png</filename>{SIZE}<object><name>drop</name>{box}</object></annotation>"
    )
    (folder / "a.xml").write_text(text)
    _, _, err = labels(capsys, "stats", folder)
    assert [fault in line for line in err.splitlines() if "a.png" in line] == [True]


def test_an_image_whose_label_file_is_a_link_that_leads_nowhere_is_not_clean(tmp_path, capsys):
    for number, name in enumerate(("a", "b", "c", "d")):
        split = "val" if name == "d" else "train"
        write_image(tmp_path / "images" / split / f"{name}.png", (40, 90), number)
        (tmp_path / "labels" / split).mkdir(parents=True, exist_ok=True)
        (tmp_path / "labels" / split / f"{name}.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    for name, target in (("b", "b.txt"), ("c", "unplugged/c.txt")):
        label = tmp_path / "labels" / "train" / f"{name}.txt"
        label.unlink()
        label.symlink_to(target)
    (tmp_path / "data.yaml").write_text(
        "train: images/train\nval: images/val\nnames: [wrinkle, drop, broken]\n"
    )
    code, out, err = labels(capsys, "convert", tmp_path, "--to", "coco", "--out", tmp_path / "o.json")
    assert code == 0
    assert "2 images, 0 without a defect, 2 boxes" in out
    assert "2 left out" in out
    assert "images/train/b.png" in err
    assert "images/train/c.png" in err


@pytest.mark.parametrize("target", ["unplugged/c.png", "c.png"], ids=["leads nowhere", "is a loop"])
def test_an_image_that_is_a_link_without_end_or_goal_is_named_and_not_skipped(tmp_path, capsys, target):
    for number, name in enumerate(("a", "b", "c", "d")):
        split = "val" if name == "d" else "train"
        write_image(tmp_path / "images" / split / f"{name}.png", (40, 90), number)
        (tmp_path / "labels" / split).mkdir(parents=True, exist_ok=True)
        if name != "c":
            (tmp_path / "labels" / split / f"{name}.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    image = tmp_path / "images" / "train" / "c.png"
    image.unlink()
    image.symlink_to(target)
    (tmp_path / "data.yaml").write_text(
        "train: images/train\nval: images/val\nnames: [wrinkle, drop, broken]\n"
    )
    code, out, _ = labels(capsys, "check", tmp_path)
    assert code == 50
    assert next(line.split()[:3] for line in out.splitlines() if "c.png" in line) == [
        *("not", "read", "images/train/c.png")
    ]
    _, out, err = labels(capsys, "convert", tmp_path, "--to", "coco", "--out", tmp_path / "o.json")
    assert "3 images" in out
    assert "1 file with problems" in out
    assert "warning: images/train/c.png: " in err
    with pytest.raises(DatasetError, match=r"images/train/c\.png"):
        load_dataset(tmp_path, load_taxonomy())


def test_a_box_outside_without_area_or_with_swapped_corners_is_one_finding(tmp_path, capsys):
    boxes = {
        "a.png": (500, 10, 5, 5),
        "b.png": (30, 30, -10, -10),
        "c.png": (5, 5, 0, 9),
        "d.png": (0.5, 0.5, 0.6, 0.6),  # a normalised centre: right and lower side lie beyond 1
        "e.png": (0, 0, 20, 20),
    }
    for number, name in enumerate(boxes):
        write_image(tmp_path / name, (40, 90), number)
    content = {
        "images": [{"id": n, "file_name": name, "width": 90, "height": 40} for n, name in enumerate(boxes)],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": box} for n, box in enumerate(boxes.values())
        ],
        "categories": [{"id": 1, "name": "drop"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    code, out, _ = labels(capsys, "check", tmp_path / "coco.json", "--json")
    found = sorted((one["file"], one["kind"]) for one in json.loads(out))
    assert code == 50
    assert found == [
        ("a.png", "outside"),
        ("annotation 3", "not read"),
        ("b.png", "swapped corners"),
        ("c.png", "no area"),
    ]
