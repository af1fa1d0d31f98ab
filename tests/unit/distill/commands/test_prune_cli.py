"""The command `prune`: what it refuses, and what it does without a recovery."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

import distill.evaluation.scorecard
import distill.prune.stage_times
import distill.training.finish
from distill.checkpoint import load_detector, write_checkpoint
from distill.commands.slim import narrowed
from distill.core.run_folder import RunFolder
from distill.prune.folder import PruneFolder
from distill.prune.plan import read_plan
from distill.prune.planning import macs_of, plans_of_step
from distill.prune.settings import new_settings
from edge.core.errors import CheckpointError, ConfigError, DatasetError
from edge.core.files import file_digest
from tests.unit.distill.prune.pruning import invoke, parameters, write_source
from tests.unit.distill.tiny import write_tiny_dataset


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("command")
    write_tiny_dataset(place / "data", train=4, val=2)
    write_source(place / "best.pt")
    write_source(place / "other.pt", reg_max=8)
    write_source(place / "twin.pt", seed=1)
    content = torch.load(place / "best.pt", weights_only=True)
    content["weights"]["model.0.conv.weight"][0] = float("nan")
    torch.save(content, place / "nan.pt")
    done = invoke(place / "best.pt", "--macs", 0.6, "--plan-only", "--out", place / "plan")
    assert done.exit_code == 0, done.output
    return place


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        pytest.param(["best.pt", "data"], ConfigError, "exactly one of", id="no-target"),
        pytest.param(["best.pt", "--macs", "0.5"], ConfigError, "data set", id="no-data-set"),
        pytest.param(["best.pt", "gone", "--macs", "0.5"], DatasetError, "gone", id="missing-data-set"),
        pytest.param(["gone.pt", "data", "--macs", "0.5"], CheckpointError, "gone.pt", id="no-checkpoint"),
        pytest.param(["data/data.yaml", "data", "--macs", "0.5"], CheckpointError, "damaged", id="no-zip"),
        pytest.param(["nan.pt", "data", "--macs", "0.5"], CheckpointError, "digest", id="other-weights"),
        pytest.param(["best.pt", "data", "--macs", "0.001"], ConfigError, "out of reach", id="too-little"),
        pytest.param(
            ["best.pt", "data", "--macs", "0.5", "--round-to", "7"], ConfigError, "round_to", id="rounding"
        ),
        pytest.param(["best.pt", "data", "--plan", "gone.json"], ConfigError, "gone.json", id="no-plan"),
        pytest.param(
            ["other.pt", "data", "--plan", "plan/plan.json"], ConfigError, "another detector",
            id="plan-of-another-structure",
        ),
        pytest.param(
            ["twin.pt", "data", "--plan", "plan/plan.json"], ConfigError, "other weights",
            id="plan-of-other-weights",
        ),
        pytest.param(
            ["best.pt", "data", "--macs", "0.5", "--recover", "teacher", "--teacher", "gone.pt"],
            CheckpointError, "gone.pt", id="no-teacher",
        ),
        pytest.param(
            ["best.pt", "data", "--macs", "0.5", "--recipe", "gone.toml"], ConfigError, "gone.toml",
            id="no-recipe",
        ),
        pytest.param(["best.pt", "data", "--resume"], CheckpointError, "no pruning", id="no-run"),
        pytest.param(
            ["best.pt", "--drop", "1", "--plan-only"], ConfigError, "one cut", id="plan-only-in-steps"
        ),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_and_leave_nothing(place, tmp_path, monkeypatch, arguments, error, said):
    monkeypatch.chdir(place)
    result = invoke(*arguments, "--out", tmp_path / "run")
    assert isinstance(result.exception, error), result.output
    assert said in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not (tmp_path / "run").exists()


def test_classes_of_another_mill_are_refused(place, tmp_path):
    from dataclasses import replace

    from distill.checkpoint import read_checkpoint, write_checkpoint

    checkpoint = read_checkpoint(place / "best.pt")
    names = ("hole", "drop", "broken")
    contract = checkpoint.contract.model_copy(
        update={"class_names": names, "score_thresholds": dict.fromkeys(names, 0.25)}
    )
    write_checkpoint(tmp_path / "mill.pt", replace(checkpoint, contract=contract))
    error = invoke(tmp_path / "mill.pt", place / "data", "--macs", 0.5, "--out", tmp_path / "run").exception
    assert isinstance(error, ConfigError)
    assert "--taxonomy" in str(error)


@pytest.mark.parametrize("name", ["best.pt", "last.pt", "prune.json", "scorecard.jsonl"])
def test_a_run_is_not_overwritten(place, tmp_path, name):
    (tmp_path / name).write_text("kept")
    error = invoke(place / "best.pt", place / "data", "--macs", 0.5, "--out", tmp_path).exception
    assert isinstance(error, ConfigError)
    assert "--out" in str(error)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_resumed_run_needs_its_checkpoint(place, tmp_path):
    folder = PruneFolder(tmp_path)
    folder.write_json(folder.settings, {"macs": 0.5})
    folder.write_json(folder.source, {"checkpoint": "best.pt", "sha256": file_digest(place / "best.pt")})
    error = invoke(place / "other.pt", place / "data", "--resume", "--out", tmp_path).exception
    assert isinstance(error, ConfigError)
    assert "another checkpoint" in str(error)
    folder.source.write_text("[]")
    error = invoke(place / "best.pt", place / "data", "--resume", "--out", tmp_path).exception
    assert isinstance(error, ConfigError)


@pytest.mark.parametrize("planner", ["threshold", "depgraph"])
def test_a_frozen_checkpoint_is_planned_like_any_other(place, tmp_path, planner):
    """A checkpoint holds no requires_grad, and every detector that is loaded is frozen."""
    assert not any(p.requires_grad for p in load_detector(place / "best.pt").module.parameters())
    said = invoke(place / "best.pt", "--macs", 0.6, "--planner", planner, "--plan-only", "--out", tmp_path)
    assert said.exit_code == 0, said.output
    plan = read_plan(tmp_path / "plan.json")
    assert plan.macs_share == pytest.approx(0.6, rel=0.02)
    assert plan.planner == planner


def test_a_plan_is_printed_drawn_and_written_and_nothing_trained(place):
    folder = PruneFolder(place / "plan")
    assert sorted(file.name for file in folder.path.iterdir()) == ["plan.json", "plan.png"]
    said = invoke(place / "best.pt", "--macs", 0.6, "--plan-only", "--out", folder.path)
    assert said.exit_code == 0
    assert str(folder.only_plan) in said.stdout
    assert "model.0.conv" in said.stdout


@pytest.fixture(scope="module")
def replayed(place):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distill.evaluation.scorecard, "LATENCY_RUNS", 2)
        patch.setattr(distill.prune.stage_times, "ROUNDS", 2)
        patch.setattr(distill.training.finish, "write_run_page", lambda *_: None)
        said = invoke(
            place / "best.pt", place / "data", "--plan", place / "plan" / "plan.json", "--epochs", 1,
            "--recover", "labels", "--out", place / "run",
        )  # fmt: skip
    assert said.exit_code == 0, said.output
    return PruneFolder(place / "run")


def test_a_plan_is_carried_out_again(place, replayed):
    plan = read_plan(place / "plan" / "plan.json")
    assert read_plan(replayed.plan(1)) == plan
    detector = load_detector(replayed.best)
    assert macs_of(detector) == plan.macs
    assert parameters(replayed.best) == plan.parameters
    assert json.loads(replayed.recipe.read_text())["epochs"] == 1


def test_a_plan_of_a_checkpoint_of_half_precision_is_its_own(place, tmp_path):
    whole = load_detector(place / "best.pt").checkpoint
    write_checkpoint(tmp_path / "slim.pt", replace(whole, weights=narrowed(whole.weights)))
    said = invoke(tmp_path / "slim.pt", "--macs", 0.6, "--plan-only", "--out", tmp_path)
    assert said.exit_code == 0, said.output
    file = tmp_path / "plan.json"
    settings = new_settings({"plan": str(file)})
    detector = load_detector(tmp_path / "slim.pt")
    (plan,) = plans_of_step(
        detector, settings, tmp_path / "table.json", source_macs=macs_of(detector), steps_left=1
    )
    assert plan == read_plan(file)


def test_what_is_pruned_already_is_pruned_further(replayed, tmp_path):
    said = invoke(replayed.best, "--macs", 0.8, "--plan-only", "--out", tmp_path)
    assert said.exit_code == 0, said.output
    assert "pruned already" in said.stderr
    plan = read_plan(tmp_path / "plan.json")
    assert plan.macs_before == macs_of(load_detector(replayed.best))
    assert plan.macs_share == pytest.approx(0.8, rel=0.02)


def test_the_step_is_a_run_like_any_other(replayed):
    step = RunFolder(replayed.step(1).path)
    assert step.metrics.is_file()
    assert json.loads(step.start_from.read_text())["sha256"] == file_digest(replayed.cut(1))
