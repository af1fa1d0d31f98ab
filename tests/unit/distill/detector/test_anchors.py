"""Anchors: k-means with 1 - IoU, how many are worth it, and the command."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from distill.commands.anchors_cli import app
from distill.data.tiles import TilePlan, tile_sides
from distill.detector.anchor_report import rounded
from distill.detector.anchors import elbow, fit_of, fitted, knee, mean_iou, sides_iou
from distill.detector.coupled_loss import match_anchors
from distill.settings.recipe import Recipe
from edge.core.errors import ConfigError, DatasetError, OutputError
from tests.unit.distill.tiny import CLASSES, tiny_contract, tiny_dataset

GROUPS = np.array([[6, 60], [60, 6], [30, 30]], np.float64)


def grouped(count=60, seed=0):
    """Boxes about three sizes, each within a tenth."""
    rng = np.random.default_rng(seed)
    return GROUPS[rng.integers(0, 3, count)] * rng.uniform(0.9, 1.1, (count, 2))


def test_groups_are_found():
    fit = fitted(grouped(), 3, seed=0)
    for group in GROUPS:
        assert np.abs(np.array(fit.anchors_px) / group - 1).max(axis=1).min() < 0.05
    assert fit.mean_iou > 0.85
    assert fit.best_possible_recall == 1


def test_the_elbow_is_at_the_number_of_groups_and_overlap_grows():
    fits = elbow(grouped(), 8, seed=0)
    overlaps = [fit.mean_iou for fit in fits]
    assert [len(fit.anchors_px) for fit in fits] == list(range(1, 9))
    assert knee(overlaps) == 2
    assert overlaps[0] < overlaps[1] < overlaps[2] <= overlaps[-1] + 1e-9


sides_strategy = st.lists(
    st.tuples(st.floats(1, 500), st.floats(1, 500)), min_size=3, max_size=25, unique=True
).map(lambda rows: np.array(rows, np.float64))


@settings(max_examples=25)
@given(sides_strategy, st.integers(1, 3), st.floats(0.25, 4))
def test_laws_of_the_fit(sides, count, factor):
    fit = fitted(sides, count, seed=1)
    anchors = np.array(fit.anchors_px)
    assert fit == fitted(sides, count, seed=1)
    assert (anchors >= sides.min(axis=0) - 1e-9).all()
    assert (anchors <= sides.max(axis=0) + 1e-9).all()
    assert (np.diff(anchors.prod(axis=1)) >= -1e-9).all()
    assert 0 < fit.mean_iou <= 1 + 1e-9
    # In other units all of it is the same, up to what rounding makes of ties.
    assert mean_iou(sides * factor, anchors * factor) == pytest.approx(fit.mean_iou)
    assert fit_of(sides * factor, anchors * factor).mean_iou == pytest.approx(fit.mean_iou)


@given(sides_strategy)
def test_as_many_anchors_as_boxes_fit_perfectly(sides):
    assert fitted(sides, len(sides), seed=0).mean_iou == pytest.approx(1, abs=1e-3)
    assert len(elbow(sides, 100, seed=0)) == len(np.unique(sides, axis=0))


@given(sides_strategy)
def test_best_possible_recall_is_what_the_coupled_loss_matches(sides):
    anchors = np.array([[8.0, 8.0], [40.0, 40.0]])
    boxes = torch.tensor(np.concatenate([500 - sides / 2, 500 + sides / 2], axis=1))
    matches = match_anchors(boxes, torch.tensor(anchors)[None], (8.0,), [(125, 125)])
    taught = len(matches[0].rows.unique()) / len(sides)
    assert fit_of(sides, anchors).best_possible_recall == pytest.approx(taught)


def test_overlap_of_sides():
    a, b = np.array([[2.0, 4.0], [1.0, 1.0]]), np.array([[4.0, 2.0]])
    assert sides_iou(a, b)[:, 0].tolist() == pytest.approx([4 / 12, 1 / 8])


@pytest.mark.parametrize("sides", [np.zeros((0, 2)), np.array([[0.0, 3.0]])], ids=["none", "no-width"])
def test_boxes_that_are_none(sides):
    with pytest.raises(ValueError, match="sides above 0"):
        elbow(sides, 3, seed=0)


def test_alike_boxes_give_one_anchor():
    fits = elbow(np.full((9, 2), 7.0), 5, seed=0)
    assert [fit.anchors_px for fit in fits] == [((7.0, 7.0),)]


def test_no_side_is_rounded_away():
    assert rounded([(0.01, 12.345)]) == [[0.1, 12.3]]


def test_boxes_count_as_the_tiles_cut_them(tmp_path):
    """The dark end is 64 px high, and the image one tile high: it is seen whole, in one tile or two."""
    data = tiny_dataset(tmp_path / "data", train=4)
    sides = tile_sides(TilePlan(data.train, tiny_contract(), 0.2, cache_mb=0))
    assert set(np.unique(sides[:, 1].round())) == {18, 64}
    assert sides.max() <= 64


def write_set(folder, sizes):
    """Write one image per box, 256 px, with its box in the middle."""
    for kind in ("images", "labels"):
        for split in ("train", "val"):
            (folder / kind / split).mkdir(parents=True)
    for number, (width, height) in enumerate(sizes):
        for split in ("train", "val"):
            cv2.imwrite(str(folder / "images" / split / f"{number}.png"), np.full((256, 256), 99, np.uint8))
            row = f"0 0.5 0.5 {width / 256} {height / 256}\n"
            (folder / "labels" / split / f"{number}.txt").write_text(row)
    names = json.dumps(list(CLASSES))
    (folder / "data.yaml").write_text(f"path: .\ntrain: images/train\nval: images/val\nnames: {names}\n")
    return folder


def test_the_command_writes_what_a_recipe_reads(tmp_path):
    folder = write_set(tmp_path / "data", [(10 + i, 20 + 3 * i) for i in range(14)])
    out = tmp_path / "found" / "anchors.json"
    done = CliRunner().invoke(app, [str(folder), "--count", "3", "--out", str(out)])
    assert done.exception is None, done.output
    content = json.loads(out.read_text())
    assert (content["boxes"], len(content["elbow"]), content["input_size_hw_px"]) == (14, 12, [256, 256])
    assert Recipe(head="coupled", anchors=str(out)).anchors == tuple(map(tuple, content["anchors"]))
    assert cv2.imread(str(out.with_suffix(".png"))) is not None
    assert "9 of YOLOv5" in done.output
    assert "best possible recall" in done.output
    again = tmp_path / "again.json"
    CliRunner().invoke(app, [str(folder), "--count", "3", "--out", str(again)])
    assert again.read_text() == out.read_text()


@pytest.mark.parametrize(
    ("sizes", "arguments", "error", "said"),
    [
        pytest.param([(9, 9)] * 3, [], DatasetError, "1 different boxes, too few for 9", id="too-few"),
        pytest.param([(9, 9)], ["--recipe", "no-such"], ConfigError, "no recipe no-such", id="recipe"),
        pytest.param([(9, 9)], ["--out", "."], OutputError, "is a folder", id="folder"),
        pytest.param([(9, 9)], ["--out", "a.png"], ConfigError, "where the plot goes", id="plot"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path, monkeypatch, sizes, arguments, error, said):
    folder = write_set(tmp_path / "data", sizes)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [str(folder), *arguments])
    assert isinstance(done.exception, error)
    assert said in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_set_without_defects_has_no_anchors(tmp_path, monkeypatch):
    folder = write_set(tmp_path / "data", [(9, 9)])
    (folder / "labels" / "train" / "0.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [str(folder)])
    assert isinstance(done.exception, DatasetError)
    assert "no defect" in str(done.exception)
