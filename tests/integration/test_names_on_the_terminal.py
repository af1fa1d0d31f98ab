"""Names of files that would drive a terminal, or rich, through the real command."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from tests.hostile.commands import outcome_of

FORMS = ("dataset", "voc", "coco", "florence", "cvat", "label-studio")


@pytest.mark.parametrize("name", ["\x1b[2J", "a\x9b31mb", "a\rb", "[red]x[/red]", "[/nothing]"])
def test_a_name_is_printed_spelt_out_and_as_it_stands(name, tmp_path, bundle):
    folder = tmp_path / name
    folder.mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "a.png"), np.full((64, 64), 120, np.uint8))
    (tmp_path / "a.png").rename(folder / f"{name.rpartition('/')[2]}.png")
    (folder / "b.png").write_bytes(b"no image")
    words = ["--camera", str(folder), "--model", str(bundle), "--cloth", "all", "--threads", "1"]
    done = outcome_of(["edge-run", *words], tmp_path)
    shown = done.stdout + done.stderr
    assert not [letter for letter in shown if letter < " " and letter != "\n"], shown
    assert "\x9b" not in shown
    assert "Traceback" not in shown
    if "[" in name and "\x1b" not in name:
        assert name.rpartition("/")[2] in shown.replace("\n", "")


def _labelled(folder, name):
    """Write a data set of one image of that name, and one whose copy `check` finds."""
    for split, own in (("train", name), ("val", "b")):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        cv2.imwrite(str(folder / "a.png"), np.full((64, 64), 120, np.uint8))
        (folder / "a.png").rename(folder / "images" / split / f"{own}.png")
        (folder / "labels" / split / f"{own}.txt").write_text("1 0.5 0.5 0.25 0.25\n")
    (folder / "data.yaml").write_text(
        "train: images/train\nval: images/val\nnames: [wrinkle, drop, broken]\n"
    )
    return folder


@pytest.mark.parametrize("name", ["\x1b[31mred", "a\x9b31mb", "a\rb", "a\x7fb", "a\udcffb"])
def test_labels_of_images_of_any_name_are_checked_and_converted_or_refused_in_a_line(name, tmp_path):
    folder = _labelled(tmp_path / "set", name)
    outcomes = [outcome_of(["labels", "check", str(folder)], tmp_path)]
    for form in FORMS:
        words = ["labels", "convert", str(folder), "--to", form, "--out", str(tmp_path / form)]
        outcomes.append(outcome_of(words, tmp_path))
    assert outcomes[0].code == 50, "the two images are the same"
    for outcome in outcomes:
        assert outcome.is_documented, outcome
        assert not any(mark in outcome.stdout + outcome.stderr for mark in "\x1b\x9b\r\x7f"), outcome


@pytest.mark.parametrize("name", ["\x1b[2J", "a\x9b31mb", "\udce9"])
def test_names_in_labels_are_printed_spelt_out_and_json_gives_them_back(name, tmp_path):
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [50, 50, 40, 40], "area": 1600, "iscrowd": 0}
    labels = {
        "images": [{"id": 1, "file_name": f"{name}.png", "width": 64, "height": 64}],
        "annotations": [box],  # beyond its image: the finding names it
        "categories": [{"id": 1, "name": "drop"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(labels))
    for more in ([], ["--json"]):
        done = outcome_of(["labels", "check", "--labels-only", "coco.json", *more], tmp_path)
        shown = done.stdout + done.stderr
        assert done.code == 50, shown
        assert ".png" in done.stdout
        assert not [letter for letter in shown if letter < " " and letter != "\n"], shown
        assert "\x9b" not in shown
    assert f"{name}.png" in {row["file"] for row in json.loads(done.stdout)}
