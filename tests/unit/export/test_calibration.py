"""The images INT8 is calibrated on: declared, checked, judged."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from edge.core.errors import ImageError, LoomsightError, NoImagesError
from export.calibration_add import CalibrationCandidate, ImageOrigin, add_images, spread
from export.calibration_report import RangeRow, compare_ranges, verdict
from export.calibration_set import (
    MANIFEST_NAME,
    MOST_TILES,
    calibration_tiles,
    check_calibration,
    read_manifest,
    shipped_calibration,
)
from tests.conftest import bright_cell_contract
from tests.processes import loomsight
from tests.unit.distill.tiny import write_tiny_dataset, write_untrained

ORIGIN = ImageOrigin("loom 7", "ours")


def cloth(path, seed=0, size=(200, 200)):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.random.default_rng(seed).integers(60, 160, size).astype(np.uint8))
    return path


@pytest.fixture
def folder(tmp_path):
    for number in range(4):
        cloth(tmp_path / "camera" / f"{number}.png", number)
    add_images(tmp_path / "calib", tmp_path / "camera", 8, ORIGIN)
    return tmp_path / "calib"


def test_the_shipped_images_are_whole_and_show_every_class():
    manifest = check_calibration(shipped_calibration())
    assert set(manifest.class_coverage) == {"broken", "clean", "drop", "wrinkle"}
    assert {one.mm_per_px for one in manifest.images} == {0.2}


def test_what_is_added_is_declared(folder):
    manifest = check_calibration(folder)
    assert len(manifest.images) == 4
    assert {(one.source, one.licence) for one in manifest.images} == {("loom 7", "ours")}
    assert manifest.class_coverage == {"clean": 4}


def test_the_same_image_is_not_added_twice(folder, tmp_path):
    cloth(tmp_path / "camera" / "new.png", 9)
    assert len(add_images(folder, tmp_path / "camera", 8, ORIGIN).images) == 5
    check_calibration(folder)


def test_a_data_set_brings_classes_and_scale(tmp_path):
    write_tiny_dataset(tmp_path / "data")
    manifest = add_images(tmp_path / "calib", tmp_path / "data", 6, ORIGIN)
    assert len(manifest.images) == 6
    assert {"broken", "drop", "clean"} == set(manifest.class_coverage)
    assert {one.mm_per_px for one in manifest.images} == {0.2}


def test_rare_classes_come_first(tmp_path):
    common = [CalibrationCandidate(tmp_path / f"{n}", {"drop": 1}) for n in range(20)]
    rare = [
        CalibrationCandidate(tmp_path / "rare", {"wrinkle": 1}),
        CalibrationCandidate(tmp_path / "clean", {}),
    ]
    chosen = spread([*common, *rare], 4)
    assert len(chosen) == 4
    assert {one.path.name for one in rare} <= {one.path.name for one in chosen}


def test_tiles_come_from_all_images_in_turn(folder):
    contract = bright_cell_contract()
    tiles = calibration_tiles(folder, contract)
    assert tiles.shape[1:] == (1, 64, 64)
    assert tiles.dtype == np.float32
    assert 16 <= len(tiles) <= MOST_TILES
    assert not np.array_equal(tiles[0], tiles[1])


def damage_missing(folder):
    next(folder.glob("*.png")).unlink()


def damage_changed(folder):
    with next(folder.glob("*.png")).open("ab") as stream:
        stream.write(b"x")


def damage_undeclared(folder):
    cloth(folder / "new.png", 5)


def damage_manifest(folder):
    (folder / MANIFEST_NAME).write_text("{")


def damage_empty(folder):
    (folder / MANIFEST_NAME).write_text('{"format": 1, "images": []}')


def damage_no_manifest(folder):
    (folder / MANIFEST_NAME).unlink()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_missing, "is declared and missing"),
        (damage_changed, "was changed after it was declared"),
        (damage_undeclared, "does not declare"),
        (damage_manifest, "is not valid"),
        (damage_empty, "declares no image"),
        (damage_no_manifest, "There is no file .*calib add"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_folder_that_is_not_as_declared_is_refused(folder, damage, said):
    damage(folder)
    with pytest.raises(LoomsightError, match=said):
        calibration_tiles(folder, bright_cell_contract())


@pytest.mark.parametrize("value", [0, 255], ids=["black", "white"])
def test_images_of_nothing_are_refused(tmp_path, value):
    (tmp_path / "dark").mkdir()
    cv2.imwrite(str(tmp_path / "dark" / "0.png"), np.full((64, 64), value, np.uint8))
    with pytest.raises(ImageError, match="shows nothing"):
        add_images(tmp_path / "calib", tmp_path / "dark", 4, ORIGIN)
    assert not (tmp_path / "calib").exists()


def test_too_few_tiles_are_refused(tmp_path):
    cloth(tmp_path / "one" / "0.png", size=(64, 64))
    add_images(tmp_path / "calib", tmp_path / "one", 4, ORIGIN)
    with pytest.raises(NoImagesError, match="give 1 tiles; calibration needs 16"):
        calibration_tiles(tmp_path / "calib", bright_cell_contract())


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoImagesError, match="holds no images"):
        add_images(tmp_path / "calib", tmp_path / "empty", 4, ORIGIN)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([RangeRow("a", 1, 1)] * 20, "20 activations, 0 cut off, 0 coarse: these images will do"),
        ([RangeRow("a", 1, 2)] * 5 + [RangeRow("b", 1, 1)] * 15, "5 of 20 activations go beyond"),
        ([RangeRow("a", 4, 1)] * 10 + [RangeRow("b", 1, 1)] * 10, "10 of 20 activations fill less"),
        ([RangeRow("a", 0, 0)] * 4, "will do"),
    ],
    ids=["good", "cut", "coarse", "zero"],
)
def test_the_verdict(rows, said):
    assert said in verdict(rows)


def test_ranges_of_the_images_a_split_holds_are_its_own(tmp_path):
    write_tiny_dataset(tmp_path / "data", train=12, val=12)
    write_untrained(tmp_path / "best.pt")
    add_images(tmp_path / "calib", tmp_path / "data" / "images" / "val", 12, ImageOrigin("t", "t", 0.2))
    rows = compare_ranges(tmp_path / "best.pt", tmp_path / "data", tmp_path / "calib")
    assert len(rows) > 10
    assert rows[0].ratio == pytest.approx(1.0)
    assert rows == sorted(rows, key=lambda row: -row.ratio)


def test_the_command_checks_and_says_so(folder):
    done = loomsight("calib", "check", folder)
    assert done.returncode == 0, done.stderr
    assert "4 images whole, clean 4" in done.stdout
    damage_changed(folder)
    done = loomsight("calib", "check", folder)
    assert done.returncode == 22
    assert done.stderr.count("\n") == 1
    assert "Restore it" in done.stderr


def test_the_manifest_is_plain_json(folder):
    written = json.loads((folder / MANIFEST_NAME).read_text())
    assert written["format"] == 1
    assert read_manifest(folder).model_dump(mode="json") == written | {
        "images": [one | {} for one in written["images"]]
    }
