"""CVAT and Label Studio: what people's work in them means when it comes back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from distill.labels.formats import cvat, label_studio
from distill.labels.formats.registry import read_labels
from edge.core.errors import DatasetError
from tests.unit.distill.labels.label_sets import (
    TAXONOMY,
    everything,
    label_set,
    region,
    rich_set,
    write_image,
    write_images,
)

FOUND = region("drop", (10.0, 10.0, 20.0, 20.0), score=0.7, annotator="florence-2")
OTHER = region("broken", (100.0, 5.0, 110.0, 15.0), score=0.4, annotator="florence-2")


@pytest.fixture
def root(tmp_path):
    return write_images(tmp_path / "images")


@pytest.fixture
def tasks(root, tmp_path):
    """Return Label Studio's tasks for two boxes that nobody has looked at yet, and the file."""
    label_studio.write(label_set(root, {"0001.bmp": (FOUND, OTHER)}), tmp_path / "tasks.json")
    return json.loads((tmp_path / "tasks.json").read_text(encoding="utf-8")), tmp_path / "tasks.json"


def task_of(tasks, name="0001.bmp"):
    return next(task for task in tasks if task["data"]["file_name"] == name)


def read_again(tasks, file):
    file.write_text(json.dumps(tasks), encoding="utf-8")
    label_set_ = read_labels(file, TAXONOMY)
    image = next(image for image in everything(label_set_) if image.file_name == "0001.bmp")
    return image, label_set_.problems


def test_what_nobody_looked_at_is_a_prediction(tasks):
    task = task_of(tasks[0])
    assert "annotations" not in task
    [prediction] = task["predictions"]
    assert prediction["model_version"] == "florence-2"
    assert [result["score"] for result in prediction["result"]] == [0.7, 0.4]
    assert "annotations" in task_of(tasks[0], "0 (1).jpg")


def test_a_persons_work_decides(tasks):
    """Kept is accepted, changed is corrected, missing is rejected, drawn is a person's own."""
    rows, file = tasks
    task = task_of(rows)
    first, second = task["predictions"][0]["result"]
    moved = {**second, "origin": "prediction-changed", "value": {**second["value"], "x": 1.0}}
    drawn = {**first, "id": "new", "origin": "manual", "meta": {}}
    del drawn["score"]
    task["annotations"] = [{"was_cancelled": True, "result": []}, {"result": [moved, drawn]}]
    image, problems = read_again(rows, file)
    assert problems == {}
    assert [(found.label, found.review, found.score) for found in image.regions] == [
        ("broken", "corrected", 0.4),
        ("drop", "unreviewed", None),
        ("drop", "rejected", 0.7),
    ]
    assert image.regions[0].box_xyxy_px[0] == pytest.approx(3.3)


def test_a_queued_box_is_a_prediction_and_kept_is_accepted(root, tmp_path):
    waiting = replace(FOUND, review="queued")
    label_studio.write(label_set(root, {"0001.bmp": (waiting, OTHER)}), tmp_path / "tasks.json")
    rows = json.loads((tmp_path / "tasks.json").read_text(encoding="utf-8"))
    task = task_of(rows)
    assert "annotations" not in task
    assert [found.review for found in read_again(rows, tmp_path / "tasks.json")[0].regions] == [
        "queued",
        "unreviewed",
    ]
    result = [{**found, "origin": "prediction"} for found in task["predictions"][0]["result"]]
    task["annotations"] = [{"result": result}]
    image, _ = read_again(rows, tmp_path / "tasks.json")
    assert [found.review for found in image.regions] == ["accepted", "accepted"]


def test_kept_is_accepted(tasks):
    rows, file = tasks
    task = task_of(rows)
    result = [{**found, "origin": "prediction"} for found in task["predictions"][0]["result"]]
    task["annotations"] = [{"result": result}]
    image, _ = read_again(rows, file)
    assert [found.review for found in image.regions] == ["accepted", "accepted"]


def test_a_turned_rectangle_is_an_outline(tasks):
    rows, file = tasks
    task = task_of(rows)
    task["predictions"][0]["result"][0]["value"]["rotation"] = 90
    image, _ = read_again(rows, file)
    assert image.regions[0].box_xyxy_px == pytest.approx((0, 10, 10, 20))
    assert len(image.regions[0].polygon_xy_px) == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            {"type": "brushlabels", "value": {"rle": [0], "brushlabels": ["drop"]}},
            "a 'brushlabels' is neither",
            id="brush",
        ),
        pytest.param({"value": {"rectanglelabels": ["drop"]}}, "missing", id="no-place"),
        pytest.param({"value": {"x": 1, "y": 1, "width": 1, "height": 1}}, "no label", id="no-label"),
        pytest.param({"meta": {"review": "maybe"}}, "review 'maybe'", id="review"),
        pytest.param({"value": None}, "no label", id="no-value"),
    ],
)
def test_a_bad_result_is_one_line_and_the_others_are_read(tasks, change, said):
    rows, file = tasks
    result = task_of(rows)["predictions"][0]["result"]
    result[0] = {**result[0], **change}
    image, problems = read_again(rows, file)
    assert image.regions[-1].label == "broken"
    assert list(problems) == ["0001.bmp"]
    assert said in problems["0001.bmp"]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        pytest.param({"image": "/data/local-files/?d=a/0%20%281%29.jpg"}, "a/0 (1).jpg", id="local-files"),
        pytest.param({"image": "/data/upload/3/0123abcd-0_1.jpg"}, "0_1.jpg", id="uploaded"),
        pytest.param({"image": "http://mill/x/油.png"}, "油.png", id="address"),
    ],
)
def test_names_as_label_studio_states_them(tmp_path, data, name):
    write_image(tmp_path / name, (50, 200))
    (tmp_path / "export.json").write_text(json.dumps([{"data": data}]), encoding="utf-8")
    [image] = label_studio.read(tmp_path / "export.json").images
    assert (image.file_name, image.size_hw_px) == (name, (50, 200))


@pytest.mark.parametrize("image", ["http://[bad", None, 7, "x" * 5000, "a\0b.png"], ids=str)
def test_a_task_that_names_no_image_is_one_line(tmp_path, image):
    (tmp_path / "export.json").write_text(json.dumps([{"id": 4, "data": {"image": image}}]))
    label_set_ = label_studio.read(tmp_path / "export.json")
    assert label_set_.images == ()
    assert len(label_set_.problems) == 1


def test_a_task_without_an_image_is_one_line(tmp_path):
    (tmp_path / "export.json").write_text(json.dumps([{"id": 4, "data": {"image": "gone.png"}}]))
    assert "There is no file" in label_studio.read(tmp_path / "export.json").problems["gone.png"]


@pytest.mark.parametrize("content", ['{"images": []}', "[1]", '[{"image": "a.png"}]'])
def test_no_tasks_no_label_studio(tmp_path, content):
    (tmp_path / "export.json").write_text(content)
    with pytest.raises(DatasetError, match="no list of Label Studio"):
        label_studio.read(tmp_path / "export.json")


def test_label_studio_gets_its_configuration(tasks):
    config = tasks[1].with_suffix(".config.xml").read_text(encoding="utf-8")
    assert '<RectangleLabels name="label" toName="image">' in config
    assert config.count('<Label value="drop"') == 2


def test_cvat_gets_every_attribute_declared(root, tmp_path):
    cvat.write(rich_set(root), tmp_path / "cvat.xml")
    labels = json.loads((tmp_path / "cvat.labels.json").read_text(encoding="utf-8"))
    declared = {label["name"]: {a["name"] for a in label["attributes"]} for label in labels}
    assert {"score", "annotator", "review", "category", "phrase", "weight"} == declared["drop"]
    assert declared["loomsight image"] == {"group", "split"}
    text = (tmp_path / "cvat.xml").read_text(encoding="utf-8")
    assert '<attribute name="score">0.875</attribute>' in text
    assert "<version>1.1</version>" in text


CVAT_EXPORT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><job><labels>
<label><name>drop</name></label><label><name>broken</name></label></labels></job></meta>
<image id="0" name="0 (1).jpg" subset="Train" width="200" height="50">
<box label="drop" source="manual" occluded="0" xtl="10.12" ytl="3.00" xbr="14.50" ybr="7.25" z_order="0">
<attribute name="score"></attribute><attribute name="review">accepted</attribute></box>
{shape}
</image></annotations>"""


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        pytest.param("", None, id="good"),
        pytest.param('<mask label="drop" rle="1"/>', "missing", id="mask-without-a-place"),
        pytest.param('<polyline label="drop" points="1,2;3,4"/>', "a polyline has no area", id="polyline"),
        pytest.param('<box label="drop" xtl="1"/>', "missing", id="incomplete"),
        pytest.param('<polygon label="drop" points="1,2;3,4"/>', "three corners", id="two-corners"),
        pytest.param('<box label="moth" xtl="1" ytl="1" xbr="2" ybr="2"/>', "'moth'", id="unknown"),
    ],
)
def test_what_cvat_exports(tmp_path, shape, said):
    (tmp_path / "cvat.xml").write_text(CVAT_EXPORT.format(shape=shape), encoding="utf-8")
    label_set_ = read_labels(tmp_path / "cvat.xml", TAXONOMY)
    assert len(label_set_.left_out) == bool(said)
    [image] = everything(label_set_)
    assert image.regions[0].box_xyxy_px == (10.12, 3.0, 14.5, 7.25)
    assert (image.regions[0].score, image.regions[0].review) == (None, "accepted")
    assert [line for line in label_set_.problems.values() if said not in line] == []
    assert len(label_set_.problems) == bool(said)


def test_videos_of_cvat_are_refused(tmp_path):
    (tmp_path / "cvat.xml").write_text("<annotations><track/></annotations>")
    with pytest.raises(DatasetError, match="CVAT for images"):
        cvat.read(tmp_path / "cvat.xml")
