from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from distill.checkpoint import load_detector, read_checkpoint
from distill.core.run_folder import RunFolder
from distill.operating_point.folds import parts_of
from distill.operating_point.settle import read_verdict
from edge.core.errors import CheckpointError
from tests.unit.distill.commands.test_distill_cli import invoke
from tests.unit.distill.tiny import TINY_TOML, tiny_dataset, write_tiny_dataset, write_untrained

FOLDS = "\n[operating_point]\nfolds = 2\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("settle")
    write_tiny_dataset(place / "data", train=8, val=4)
    write_untrained(place / "start.pt")
    (place / "folds.toml").write_text(TINY_TOML + FOLDS)
    (place / "plain.toml").write_text(TINY_TOML)
    return place


@pytest.fixture(scope="module")
def run(place):
    done = invoke(
        place / "data", "--recipe", place / "folds.toml", "--start-from", place / "start.pt",
        "--out", place / "run",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return done


def test_every_image_is_judged_once_by_a_detector_that_was_trained_without_it(run, place):
    listed = [json.loads((place / "run/folds" / n / "reports.json").read_text()) for n in ("1", "2")]
    assert sorted(len(part) for part in listed) == [6, 6]
    verdict = read_verdict(RunFolder(place / "run"))
    assert verdict.is_cross_validated
    assert (verdict.after.images, verdict.before.images) == (12, 12)
    assert verdict.after.defects == verdict.before.defects == 11


def test_the_table_and_the_words_are_printed(run):
    for said in (
        "at the thresholds that ship",
        "before",
        "after",
        "false positives",
        "defects found, ",
    ):
        assert said in run.stdout
    assert "a threshold of its own needs 10" in run.stdout


def test_best_pt_has_the_thresholds_or_is_the_detector_from_before(run, place):
    verdict = read_verdict(RunFolder(place / "run"))
    best, start = read_checkpoint(place / "run/best.pt"), read_checkpoint(place / "start.pt")
    if verdict.is_better:
        assert best.contract.score_thresholds == verdict.thresholds
    else:
        assert all(torch.equal(best.weights[name], start.weights[name]) for name in start.weights)
        assert best.contract.score_thresholds == start.contract.score_thresholds
        tuned = read_checkpoint(place / "run/tuned.pt")
        assert tuned.contract.score_thresholds == verdict.thresholds
        load_detector(place / "run/tuned.pt")


def test_the_detector_from_before_is_kept_where_nothing_was_gained(place, monkeypatch):
    """A learning rate of next to nothing gives the same detector: that is not better."""
    (place / "still.toml").write_text("learning_rate = 1e-12\n" + TINY_TOML + FOLDS)
    done = invoke(
        place / "data", "--recipe", place / "still.toml", "--start-from", place / "start.pt",
        "--out", place / "still",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "NOT better than where it started" in done.stdout
    best, start = read_checkpoint(place / "still/best.pt"), read_checkpoint(place / "start.pt")
    assert all(torch.equal(best.weights[name], start.weights[name]) for name in start.weights)
    assert (place / "still/tuned.pt").is_file()


def test_a_run_that_was_stopped_between_parts_goes_on_with_the_next(place, run):
    """What stands in a part's folder is not trained again."""
    stopped = shutil.copytree(place / "run", place / "stopped")
    first = (stopped / "folds/1/reports.json").stat().st_mtime_ns
    for file in ("best.pt", "last.pt", "folds/2/reports.json", "scorecard.jsonl"):
        (stopped / file).unlink()
    resumed = invoke(place / "data", "--out", stopped, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert (stopped / "folds/1/reports.json").stat().st_mtime_ns == first
    assert read_verdict(RunFolder(stopped)) == read_verdict(RunFolder(place / "run"))


def test_without_folds_the_val_split_is_compared_and_the_trained_detector_kept(place):
    done = invoke(
        place / "data", "--recipe", place / "plain.toml", "--start-from", place / "start.pt",
        "--out", place / "plain",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    verdict = read_verdict(RunFolder(place / "plain"))
    assert (verdict.is_cross_validated, verdict.after.images) == (False, 4)
    assert read_checkpoint(place / "plain/best.pt").contract.score_thresholds == verdict.thresholds
    assert not (place / "plain/tuned.pt").exists()


def test_a_run_from_random_weights_has_the_thresholds_of_its_validation(place):
    done = invoke(place / "data", "--recipe", place / "plain.toml", "--out", place / "random")
    assert done.exit_code == 0, done.output
    assert read_verdict(RunFolder(place / "random")) is None


def test_images_of_one_group_are_in_one_part(tmp_path):
    data = tiny_dataset(tmp_path / "data", train=8, val=4)
    grouped = replace(
        data,
        train=tuple(replace(one, group=f"roll {number // 3}") for number, one in enumerate(data.train)),
        val=tuple(replace(one, group="roll 0") for one in data.val),
    )
    parts = parts_of(grouped, 3)
    rolls = [{image.group for image in part} for part in parts]
    assert sum(map(len, parts)) == 12
    assert len(rolls) == 3
    assert not any(a & b for number, a in enumerate(rolls) for b in rolls[:number])


def test_one_group_alone_cannot_be_parted(tmp_path):
    data = tiny_dataset(tmp_path / "data", train=2, val=1)
    one = [replace(image, group="A") for image in (*data.train, *data.val)]
    assert parts_of(replace(data, train=tuple(one[:2]), val=tuple(one[2:])), 3) == []


def test_a_damaged_verdict_is_named(tmp_path):
    folder = RunFolder(tmp_path)
    folder.operating_point.write_text("{")
    with pytest.raises(CheckpointError, match=r"operating_point\.json cannot be read"):
        read_verdict(folder)


def test_classes_are_split_alike(tmp_path):
    data = tiny_dataset(tmp_path / "data", train=18, val=6)
    boxes = [np.concatenate([one.class_ids for one in part]) for part in parts_of(data, 3)]
    assert max(map(len, boxes)) - min(map(len, boxes)) <= 2
