from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from distill.core.precision import choose_precision
from distill.data.dataset import load_dataset
from distill.detector.build import DetectionTask, build_module
from distill.detector.weighted_loss import padded_weights
from distill.labels.formats import yolo
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, Region
from distill.settings.structure import DetectorStructure
from distill.training.training_run import dataset_digest
from edge.core.errors import DatasetError
from tests.unit.distill.labels.label_sets import CLASSES, write_image

SURE, UNSURE = Region("drop", (2, 2, 30, 30)), Region("broken", (40, 10, 60, 50), score=0.4, weight=0.4)
QUEUED = Region("wrinkle", (5, 40, 30, 60), score=0.2, review="queued", weight=0.2)


@pytest.fixture
def folder(tmp_path):
    write_image(tmp_path / "in" / "a.png", (64, 64))
    write_image(tmp_path / "in" / "b.png", (64, 64), seed=1)
    write_image(tmp_path / "in" / "c.png", (64, 64), seed=2)
    images = (
        AnnotatedImage("a.png", (64, 64), (UNSURE, SURE), split="train"),
        AnnotatedImage("c.png", (64, 64), (SURE, QUEUED), split="train"),
        AnnotatedImage("b.png", (64, 64), (UNSURE,), split="val"),
    )
    yolo.write(LabelSet(tmp_path / "in", CLASSES, images), tmp_path / "set")
    return tmp_path / "set"


def test_training_boxes_have_the_weights_they_were_written_with(folder):
    dataset = load_dataset(folder, CLASSES)
    (image,) = dataset.train
    assert dict(zip(image.class_ids.tolist(), image.weights.tolist(), strict=True)) == {
        CLASSES.index("broken"): pytest.approx(0.4),
        CLASSES.index("drop"): 1.0,
    }
    assert dataset.val[0].weights is None


def test_a_box_that_was_moved_by_hand_is_trusted(folder):
    file = folder / "labels" / "train" / "a.txt"
    number, x, *rest = file.read_text().splitlines()[0].split()
    file.write_text(" ".join([number, str(float(x) + 0.05), *rest]) + "\n")
    assert load_dataset(folder, CLASSES).train[0].weights.tolist() == [1.0]


def test_without_a_coco_file_all_boxes_are_trusted(folder):
    (folder / "annotations" / "train.json").unlink()
    images = load_dataset(folder, CLASSES).train
    assert [image.weights.tolist() for image in images] == [[1.0, 1.0], [1.0]]


def test_a_damaged_coco_file_is_named(folder):
    (folder / "annotations" / "train.json").write_text("{")
    with pytest.raises(DatasetError, match=r"train\.json"):
        load_dataset(folder, CLASSES)


def test_other_weights_are_another_data_set(folder):
    before = load_dataset(folder, CLASSES).train
    trusted = tuple(replace(p, weights=np.ones(2, np.float32)) for p in before)
    plain = tuple(replace(p, weights=None) for p in before)
    assert dataset_digest(before) != dataset_digest(trusted)
    assert dataset_digest(plain) == dataset_digest(trusted)


def loss_of(weights):
    torch.manual_seed(0)
    module = build_module(DetectorStructure(scale="p", channels=1, classes=3)).train()
    task = DetectionTask(module, choose_precision("float32", torch.device("cpu")))
    targets = {
        "batch_idx": torch.tensor([0.0, 1.0, 1.0]),
        "cls": torch.tensor([[0.0], [1.0], [2.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.3, 0.3, 0.4, 0.4], [0.7, 0.7, 0.4, 0.4]]),
        "weights": torch.tensor(weights),
    }
    parts = task.loss_parts(torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(1)), targets)
    return {name: float(value.detach()) for name, value in parts.items()}


def test_every_part_depends_on_the_weights():
    full, half = loss_of([1.0, 1.0, 1.0]), loss_of([1.0, 1.0, 0.5])
    assert full == loss_of([1.0, 1.0, 1.0])
    assert all(full[name] != half[name] for name in ("box", "class", "dfl"))


def test_a_box_without_weight_teaches_nothing_of_its_place():
    without = loss_of([1.0, 0.0, 0.0])
    with_it = loss_of([1.0, 1.0, 1.0])
    assert without["box"] != with_it["box"]
    assert without["box"] > 0


def test_weights_lie_where_the_boxes_of_an_image_lie():
    padded = padded_weights(torch.tensor([0.0, 2.0, 2.0]), torch.tensor([0.1, 0.2, 0.3]), 3)
    assert torch.equal(padded, torch.tensor([[0.1, 1.0], [1.0, 1.0], [0.2, 0.3]]))
    assert padded_weights(torch.zeros(0), torch.zeros(0), 2).shape == (2, 0)


def test_a_data_set_with_weights_is_json_all_through(folder):
    kept = json.loads((folder / "annotations" / "train.json").read_text())
    assert [row["weight"] for row in kept["annotations"]] == [0.4, 1.0, 1.0, 0.2]


def test_an_image_that_waits_for_a_person_is_not_trained_on(folder, caplog):
    with caplog.at_level("INFO"):
        assert [image.path.name for image in load_dataset(folder, CLASSES).train] == ["a.png"]
    assert "1 of 2 images of train wait" in caplog.text


def test_an_image_that_waits_for_a_person_is_not_validated_on_as_one_without_a_defect(folder, caplog):
    kept = json.loads((folder / "annotations" / "val.json").read_text())
    kept["annotations"][0]["review"] = "queued"
    (folder / "annotations" / "val.json").write_text(json.dumps(kept))
    (folder / "labels" / "val" / "b.txt").write_text("")
    with pytest.raises(DatasetError, match="Every image of val waits for review"):
        load_dataset(folder, CLASSES)


def twins(tmp_path, rows):
    """Write one image with a box that is trusted and one of another class, at its place, that is not."""
    write_image(tmp_path / "in" / "a.png", (64, 64))
    write_image(tmp_path / "in" / "b.png", (64, 64))
    both = (Region("wrinkle", (2, 2, 30, 30), weight=0.25), Region("drop", (2, 2, 30, 30)))
    images = (
        AnnotatedImage("a.png", (64, 64), both, split="train"),
        AnnotatedImage("b.png", (64, 64), (SURE,), split="val"),
    )
    yolo.write(LabelSet(tmp_path / "in", CLASSES, images), tmp_path / "twins")
    file = tmp_path / "twins" / "labels" / "train" / "a.txt"
    lines = file.read_text().splitlines()
    file.write_text("".join(f"{lines[row]}\n" for row in rows))
    (image,) = load_dataset(tmp_path / "twins", CLASSES).train
    return [(CLASSES[n], w) for n, w in zip(image.class_ids, image.weights.tolist(), strict=True)]


@pytest.mark.parametrize("rows", [(0, 1), (1, 0)], ids=["in-order", "turned-round"])
def test_a_weight_goes_to_the_box_of_its_class(tmp_path, rows):
    assert twins(tmp_path, rows) == [("wrinkle", 0.25), ("drop", 1.0)]


def test_the_weight_of_a_box_that_was_removed_goes_to_no_other(tmp_path):
    assert twins(tmp_path, (1,)) == [("drop", 1.0)]


def test_a_box_whose_class_a_person_changed_is_trusted(folder):
    file = folder / "labels" / "train" / "a.txt"
    file.write_text(file.read_text().replace("2 ", "0 ", 1))
    (image,) = load_dataset(folder, CLASSES).train
    found = {CLASSES[n]: w for n, w in zip(image.class_ids, image.weights.tolist(), strict=True)}
    assert found == {"wrinkle": 1.0, "drop": 1.0}


def test_a_set_that_waits_as_a_whole_is_refused(folder):
    (folder / "images" / "train" / "a.png").unlink()
    with pytest.raises(DatasetError, match="waits for review"):
        load_dataset(folder, CLASSES)
