"""Pseudo-labels with all real annotators at once, two rounds, and on Ray."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from distill.commands.pseudo_label_cli import app
from distill.labels.formats import yolo
from distill.labels.formats.registry import read_labels
from tests.processes import loomsight
from tests.small_models.florence import write_small_model
from tests.small_models.sam import write_small_sam
from tests.unit.distill.labels.engine.cloth import (
    BENCHMARKS,
    TAXONOMY,
    ground_truth_of,
    reviewed,
    settings_text,
    weave,
)
from tests.unit.distill.tiny import write_untrained

ALL = """
shard_pictures = 4
worth_a_look = 0.0
[[annotators]]
kind = "florence"
model = "teacher"
settings = {max_new_tokens = 12}
teach = false
[[annotators]]
kind = "detector"
model = "weak.pt"
teaching = {scale = "p", input_size_hw_px = [64, 64], overlap_px = 8, epochs = 1, batch = 8, cache_mb = 16}
[[annotators]]
kind = "python"
name = "steady"
model = "simulated_annotators:annotator"
settings = {truth = "truth.json"}
[outlines]
model = "sam"
"""


@pytest.fixture
def mill(tmp_path, monkeypatch):
    """A folder with new and reviewed images, and simulated annotators that can be imported."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("PYTHONPATH", f"{BENCHMARKS}:{BENCHMARKS.parents[1]}")
    monkeypatch.chdir(tmp_path)
    seen, new = reviewed(tmp_path, count=40), weave(tmp_path / "new", 8, 2)
    (tmp_path / "truth.json").write_text(ground_truth_of(seen, new))
    return tmp_path


def label(*arguments):
    """Run the command; errors come out as they are."""
    given = ["new", "--reviewed", "reviewed", "--settings", "engine.toml", *arguments]
    return CliRunner().invoke(app, given, catch_exceptions=False, standalone_mode=False)


def test_labels_are_made_without_a_network_or_a_model_of_ones_own(mill, monkeypatch):
    """The shipped detector names what it knows, the reference model proposes what it does not."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    said = CliRunner().invoke(
        app, ["new", "--detector", "shipped", "--reference", "self", "--out", "job"], catch_exceptions=False
    )
    assert said.exit_code == 0, said.output
    assert "8 labelled" in said.stdout
    labels = read_labels(mill / "job/rounds/1/dataset", TAXONOMY)
    assert len(labels.images) == 8
    asked = {folder.name.rsplit("-", 1)[0] for folder in (mill / "job" / "answers").iterdir()}
    assert asked == {"detector", "reference"}
    following = said.stdout.splitlines()[-1]
    assert following.startswith("next      loomsight labels split job/rounds/1/dataset --group EXPRESSION ")


@pytest.mark.parametrize("flag", ["--florence", "--zero-shot", "--sam"])
def test_a_hub_that_does_not_answer_is_said_in_one_line_and_at_once(mill, flag):
    more = ("--detector", "shipped") if flag == "--sam" else ()
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(mill / "cache")}
    before_s = os.times().children_user
    done = loomsight("pseudo-label", "new", flag, "a/model", *more, env=environment)
    assert done.returncode == 51, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "127.0.0.1 does not answer: no network" in done.stderr
    assert "--detector shipped" in done.stderr
    assert os.times().children_user - before_s < 5  # processor time: torch is not even loaded


@pytest.mark.slow
def test_teacher_detector_and_outlines_in_two_rounds(mill):
    write_small_model(mill / "teacher", taxonomy=TAXONOMY)
    write_untrained(mill / "weak.pt")
    write_small_sam(mill / "sam")
    (mill / "engine.toml").write_text(ALL)
    output = label("--out", "job", "--rounds", "2", "--device", "cpu").stdout
    assert "8 labelled" in output
    report = json.loads((mill / "job/rounds/2/report.json").read_text())
    example = report["taught"]["detector"]
    assert example["is_better"] == (example["map50_after"] > example["map50_before"])
    assert set(report["taught"]) == {"detector"}
    asked = {folder.name.rsplit("-", 1)[0] for folder in (mill / "job" / "answers").iterdir()}
    assert asked == {"florence", "detector", "steady"}
    assert list((mill / "job/rounds/1/outlined").glob("*.jsonl"))
    labels = read_labels(mill / "job/rounds/1/dataset", TAXONOMY)
    assert sum(image.file_name.startswith("images/train/pseudo") for image in labels.images) == 8


@pytest.mark.slow
def test_ray_makes_the_same_as_one_process(mill):
    (mill / "engine.toml").write_text(settings_text(mill / "truth.json", steady={"miss": 0.4}))
    label("--out", "here")
    label("--out", "there", "--ray", "local", "--workers", "2")
    for name in ("answers", "rounds"):
        ours, theirs = (
            {f.relative_to(root): f.read_bytes() for f in sorted(root.rglob("*")) if f.is_file()}
            for root in (mill / "here" / name, mill / "there" / name)
        )
        assert ours == theirs


def test_what_the_engine_writes_is_read_by_every_labelling_command(mill):
    (mill / "engine.toml").write_text(settings_text(mill / "truth.json", steady={"miss": 0.5}))
    label("--out", "job")
    labels = read_labels(mill / "job/rounds/1/dataset", TAXONOMY)
    yolo.write(replace(labels, problems={}), mill / "again")
    again = read_labels(mill / "again", TAXONOMY)
    assert [image.regions for image in again.images] == [image.regions for image in labels.images]
