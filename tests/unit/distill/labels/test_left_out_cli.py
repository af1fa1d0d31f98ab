"""The commands on labels with objects that cannot be read: named, counted, never clean images."""

from __future__ import annotations

import json

import pytest

from tests.unit.distill.labels.sets import write_picture
from tests.unit.distill.labels.test_labels_cli import labels

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
        write_picture(tmp_path / "images" / f"{name}.png", (40, 90), number)
        text = f"<annotation><filename>{name}.png</filename>{SIZE}{objects}</annotation>"
        (tmp_path / f"{name}.xml").write_text(text)
    return tmp_path


def test_convert_writes_no_image_of_which_an_object_was_not_read(folder, capsys):
    code, out, err = labels(capsys, "convert", folder, *SHARED, "--out", folder / "out")
    rows = {path.stem: path.read_text() for path in (folder / "out" / "labels").rglob("*.txt")}
    assert code == 0
    assert {name: bool(text) for name, text in rows.items()} == {"a": True, "e": False}
    assert "2 pictures, 1 without a defect, 1 boxes, train 1, val 1, 3 left out" in out
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
    pictures = ("--pictures", folder / "images")
    labels(capsys, "convert", between, *pictures, *SHARED, "--out", folder / "out")
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
    assert (code, out.startswith("ok: 3 pictures, 1 without a defect, 2 boxes")) == (0, True)
    assert err.startswith("note: b.xml: object 1: a box turned by")
