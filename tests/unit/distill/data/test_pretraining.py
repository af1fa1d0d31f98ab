"""Simulated cloth before the data set: in one command, resumable, for a student and for its teacher."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

import distill.evaluation.scorecard
import distill.training.stages
from distill.checkpoint import read_checkpoint
from distill.commands.distill_cli import app
from distill.core.run_folder import RunFolder
from distill.evaluation.scorecard import SCORECARD_NAME, read_rows
from distill.settings.recipe import load_recipe
from distill.training.stage_plan import new_plan
from distill.training.stages import stages_of
from edge.core.errors import ConfigError
from edge.core.files import file_digest
from tests.unit.distill.tiny import TINY_TOML, tiny_recipe, write_tiny_dataset

RECIPE = f"""{TINY_TOML}
[pretraining]
epochs = 2

[pretraining.simulation]
images = 6
size_hw = [128, 128]
split = {{train = 0.5, val = 0.5}}
"""
PRETRAINING = {"simulation": {"images": 6}, "epochs": 3, "learning_rate": 5e-4}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("pretraining")
    write_tiny_dataset(root / "data", train=4, val=2)
    (root / "recipe.toml").write_text(RECIPE)
    return root


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distill.evaluation.scorecard, "LATENCY_RUNS", 2)
        yield


def command(place, out, *more):
    given = [place / "data", "--recipe", place / "recipe.toml", "--out", out, *more]
    return CliRunner().invoke(app, [str(word) for word in given])


@pytest.fixture(scope="module")
def whole(place):
    done = command(place, place / "whole")
    assert done.exit_code == 0, (done.output, done.exception)
    return place / "whole", done


def test_a_detector_is_trained_on_simulated_cloth_first(whole):
    out, done = whole
    assert len(list((out / "simulated/images/train").iterdir())) == 3
    assert len(RunFolder(out / "pretrained").read_history()) == 2
    assert len(RunFolder(out).read_history()) == 1
    started = json.loads((out / "start_from.json").read_text())
    assert started["sha256"] == file_digest(out / "pretrained/best.pt")
    assert [row.stage for row in read_rows(out / SCORECARD_NAME)] == ["train"]
    assert "pretrained" not in done.stdout


def test_a_run_that_was_stopped_in_between_goes_on(place, whole, monkeypatch):
    out = place / "stopped"
    trained = distill.training.stages.train

    def train(*arguments, **options):
        return options["start_from"] is None and trained(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(distill.training.stages, "train", train)
        assert command(place, out).exit_code == 130
    kept = (out / "pretrained/best.pt").read_bytes()
    done = command(place, out, "--resume")
    assert done.exit_code == 0, (done.output, done.exception)
    assert (out / "pretrained/best.pt").read_bytes() == kept
    weights = [read_checkpoint(folder / "best.pt").weights for folder in (whole[0], out)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_teacher_and_student_each_have_their_own(tmp_path):
    recipe = tiny_recipe(pretraining=PRETRAINING, distillation={}, teacher={"scale": "s"})
    plan = new_plan(recipe, None, True, None)
    stages = {stage.name: stage for stage in stages_of(plan, recipe, RunFolder(tmp_path))}
    assert list(stages) == ["teacher-pretrained", "teacher", "pretrained", "student-alone", "distilled"]
    assert [stage.recipe.scale for stage in stages.values()] == ["s", "s", "p", "p", "p"]
    assert stages["teacher"].start_from == stages["teacher-pretrained"].folder.best
    for name in ("student-alone", "distilled"):
        assert stages[name].start_from == stages["pretrained"].folder.best
    first = stages["pretrained"].recipe
    assert (first.epochs, first.learning_rate, first.distillation, first.pretraining) == (
        3,
        5e-4,
        None,
        None,
    )


def test_weights_cannot_come_from_two_places(place):
    done = command(place, place / "both", "--start-from", "other.pt")
    assert isinstance(done.exception, ConfigError)
    assert "exclude each other" in str(done.exception)
    assert not (place / "both").exists()


def test_a_wrong_simulation_is_named(tmp_path):
    (tmp_path / "bad.toml").write_text('[pretraining.simulation]\nweave = "knit"\n')
    with pytest.raises(ConfigError, match=r"pretraining\.simulation\.weave = 'knit'"):
        load_recipe(str(tmp_path / "bad.toml"), {}, {})
