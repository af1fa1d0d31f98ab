import json
import os
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edge.commands.simulate_cli import app
from edge.core.errors import ConfigError, OutputError
from edge.core.taxonomy import load_taxonomy
from edge.dataset import writing as dataset
from edge.dataset.image import draw_image, image_seed, run_lengths
from edge.dataset.options import DatasetOptions
from edge.dataset.writing import write_dataset
from edge.simulator.ground_truth import SeenDefect

OPTIONS = DatasetOptions(
    images=10, split={"train": 0.6, "val": 0.2, "test": 0.2}, seed=3, size_hw=(128, 256)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("simulated") / "cloth"
    write_dataset(place, OPTIONS)
    return place


def test_the_command_writes_striped_cloth_of_the_woven_look_and_names_both(tmp_path):
    command = (
        f"--out {tmp_path / 'data'} --images 4 --seed 3 --size-hw 128 256 --look woven --pattern stripes"
    )
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 0, done.output
    made = json.loads((tmp_path / "data/simulation.json").read_text())
    assert (made["options"]["look"], made["options"]["pattern"]) == ("woven", "stripes")
    options = DatasetOptions(images=4, seed=3, size_hw=(128, 256), look="woven", pattern="stripes")
    written = cv2.imread(str(tmp_path / "data/images/train/000002.png"), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(written, draw_image(options, load_taxonomy(), 2).image)


def test_a_data_set_of_both_looks_has_each_image_as_a_data_set_of_its_look_has_it():
    both, drawn, woven = (
        DatasetOptions(images=12, seed=3, size_hw=(128, 256), look=look)
        for look in ("both", "drawn", "woven")
    )
    looks = []
    for index in range(12):
        look = both.look_of(image_seed(both.seed, index))
        alone = draw_image({"drawn": drawn, "woven": woven}[look], load_taxonomy(), index).image
        assert np.array_equal(draw_image(both, load_taxonomy(), index).image, alone)
        looks.append(look)
    assert set(looks) == {"drawn", "woven"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--look", "painted"], "Permitted: drawn, woven or both"),
        (["--pattern", "checks"], "only the look woven has stripes and checks"),
        (["--look", "both", "--pattern", "checks"], "only the look woven has stripes and checks"),
    ],
    ids=["unknown look", "checks of the drawn look", "checks of both looks"],
)
def test_a_look_that_does_not_exist_is_refused(tmp_path, flags, said):
    done = CliRunner().invoke(app, ["--out", str(tmp_path / "data"), *flags])
    assert isinstance(done.exception, ConfigError)
    assert said in str(done.exception)
    assert not (tmp_path / "data").exists()


def contents(folder):
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def decoded(segmentation):
    height, width = segmentation["size"]
    flat = np.repeat(np.arange(len(segmentation["counts"])) % 2, segmentation["counts"])
    return flat.reshape(width, height).T


def test_every_image_has_a_label_file_and_an_entry(folder):
    for split, count in (("train", 6), ("val", 2), ("test", 2)):
        images = sorted((folder / "images" / split).iterdir())
        labels = sorted((folder / "labels" / split).iterdir())
        coco = json.loads((folder / "annotations" / f"{split}.json").read_text())
        assert [file.stem for file in images] == [file.stem for file in labels]
        assert [entry["file_name"] for entry in coco["images"]] == [
            f"images/{split}/{file.name}" for file in images
        ]
        assert len(images) == count
    assert cv2.imread(str(folder / "images/train/000000.png"), cv2.IMREAD_UNCHANGED).shape == (128, 256)


def test_the_description_names_splits_and_classes(folder):
    text = (folder / "data.yaml").read_text()
    assert text.startswith("train: images/train\nval: images/val\ntest: images/test\n")
    assert '  0: "wrinkle"\n  1: "drop"\n  2: "broken"\n' in text
    made = json.loads((folder / "simulation.json").read_text())
    assert made["options"]["mm_per_px"] == OPTIONS.mm_per_px
    assert DatasetOptions.model_validate(made["options"]) == OPTIONS


def test_yolo_and_coco_say_the_same(folder):
    boxes = 0
    for split in ("train", "val", "test"):
        coco = json.loads((folder / "annotations" / f"{split}.json").read_text())
        for entry in coco["images"]:
            lines = (folder / "labels" / split / Path(entry["file_name"]).name).with_suffix(".txt")
            yolo = [[float(word) for word in line.split()] for line in lines.read_text().splitlines()]
            own = [a for a in coco["annotations"] if a["image_id"] == entry["id"]]
            assert len(yolo) == len(own)
            for (class_id, cx, cy, w, h), annotation in zip(yolo, own, strict=True):
                x, y, width, height = annotation["bbox"]
                found = ((cx - w / 2) * 256, (cy - h / 2) * 128, w * 256, h * 128)
                assert found == pytest.approx((x, y, width, height), abs=1e-3)
                assert annotation["category_id"] == class_id + 1
                mask = decoded(annotation["segmentation"])
                assert mask.sum() == annotation["area"] > 0
                assert mask[y : y + height, x : x + width].sum() == annotation["area"]
                boxes += 1
    assert boxes > 3


def test_some_images_have_defects_and_some_have_none(folder):
    sizes = [file.stat().st_size for file in (folder / "labels").rglob("*.txt")]
    assert 0 < sizes.count(0) < len(sizes)


def test_the_same_options_write_the_same_files_with_any_number_of_workers(folder, tmp_path):
    again = tmp_path / "again"
    write_dataset(again, OPTIONS.model_copy(update={"workers": 2}))
    assert contents(again) == contents(folder)


def test_no_two_images_share_a_cloth(folder):
    seeds = [
        entry["seed"]
        for split in ("train", "val", "test")
        for entry in json.loads((folder / "annotations" / f"{split}.json").read_text())["images"]
    ]
    assert len(set(seeds)) == len(seeds)
    assert image_seed(0, 999_999) < image_seed(1, 0)


def test_progress_and_summary_count_what_was_written(tmp_path):
    matched = []
    options = DatasetOptions(images=4, split={"train": 0.5, "val": 0.5}, size_hw=(128, 128))
    summary = write_dataset(tmp_path / "few", options, on_progress=lambda *done: matched.append(done))
    assert matched == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert summary.images == {"train": 2, "val": 2}
    labels = {
        split: sum(len(f.read_text().splitlines()) for f in (tmp_path / "few/labels" / split).iterdir())
        for split in ("train", "val")
    }
    assert {split: sum(counts.values()) for split, counts in summary.defects.items()} == labels


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "keep.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        write_dataset(tmp_path, OPTIONS)
    assert [file.name for file in tmp_path.iterdir()] == ["keep.txt"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    write_dataset(tmp_path / "empty", DatasetOptions(images=1, split={"train": 1.0}, size_hw=(128, 128)))
    assert (tmp_path / "empty/images/train/000000.png").is_file()


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(OSError(28, "No space left on device"), OutputError), (KeyboardInterrupt(), KeyboardInterrupt)],
    ids=["disk full", "Ctrl-C"],
)
def test_nothing_is_left_behind_when_it_ends_badly(tmp_path, monkeypatch, raised, expected):
    def draw(options, taxonomy, index):
        if index == 2:
            raise raised
        return draw_image(options, taxonomy, index)

    monkeypatch.setattr(dataset, "draw_image", draw)
    with pytest.raises(expected):
        write_dataset(tmp_path / "out", OPTIONS)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def without_root():
    """Be somebody for a while: root may write anywhere."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    taxonomy = load_taxonomy()
    write_dataset(tmp_path / "in", OPTIONS, taxonomy)  # imports, too, what root alone may read here
    tmp_path.chmod(0o500)
    with without_root(), pytest.raises(OutputError, match="permission"):
        write_dataset(tmp_path / "out", OPTIONS, taxonomy)


def test_a_parent_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        write_dataset(tmp_path / "file" / "out", OPTIONS)


@pytest.mark.parametrize(
    "box",
    [(0, 0, 3, 2), (1, 1, 3, 4), (0, 0, 5, 4), (4, 3, 5, 4)],
    ids=["corner", "inside", "whole", "last pixel"],
)
def test_run_lengths_give_the_mask_back(box):
    x1, y1, x2, y2 = box
    mask = np.ones((y2 - y1, x2 - x1), np.uint8)
    seen = SeenDefect(1, "nep", "drop", "clear", box, mask)
    whole = np.zeros((4, 5), np.uint8)
    whole[y1:y2, x1:x2] = 1
    assert np.array_equal(decoded(run_lengths(seen, (4, 5))), whole)


def test_a_colour_image_has_three_channels_and_the_same_ground_truth():
    grey = draw_image(OPTIONS, load_taxonomy(), 1)
    colour = draw_image(OPTIONS.model_copy(update={"colour": True}), load_taxonomy(), 1)
    assert colour.image.shape == (*grey.image.shape, 3)
    assert [seen.box_xyxy_px for seen in colour.defects] == [seen.box_xyxy_px for seen in grey.defects]


@pytest.mark.parametrize(("width", "mm_per_px"), [(128, 0.4), (128, 0.02), (140, 2.0), (256, 0.02)])
def test_the_smallest_images_hold_cloth_beside_a_selvedge(width, mm_per_px):
    options = DatasetOptions(size_hw=(128, width), mm_per_px=mm_per_px)
    images = [draw_image(options, load_taxonomy(), index) for index in range(12)]
    assert {image.image.shape for image in images} == {(128, width)}
