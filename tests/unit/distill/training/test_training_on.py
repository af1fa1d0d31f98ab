"""Training goes on with the channels that a pruned checkpoint has, never with those of the scale."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

import distill.evaluation.scorecard
import distill.training.finish
from distill.checkpoint import Checkpoint, load_detector, read_checkpoint, weights_digest, write_checkpoint
from distill.commands.distill_cli import app
from distill.core.run_folder import RunFolder
from distill.detector.build import build_module
from distill.settings.distillation import Distillation
from distill.settings.structure import DetectorStructure
from distill.training.train import train
from edge.core.errors import CheckpointError
from tests.unit.distill.commands.test_distill_cli import TINY
from tests.unit.distill.detector.small_heads import widths_of
from tests.unit.distill.tiny import (
    Silence,
    tiny_contract,
    tiny_dataset,
    tiny_recipe,
    write_tiny_dataset,
    write_untrained,
)
from tests.unit.distill.training.test_train import CtrlC, run, without_times

CPU = torch.device("cpu")
RECIPE = tiny_recipe(epochs=1)


def pruned_structure() -> DetectorStructure:
    """Halve the channels between the first two convolutions, and those that the finest level reads."""
    whole = DetectorStructure(scale="p", channels=1, classes=3)
    widths = {name: (out, inn) for name, out, inn in widths_of(build_module(whole))}
    halves = ("model.0.conv", "model.17.cv3.conv")
    readers = ("model.1.conv", "model.18.conv", "model.24.cv2.0.0.conv", "model.24.cv3.0.0.conv")
    changed = [(name, widths[name][0] // 2, widths[name][1]) for name in halves]
    changed += [(name, widths[name][0], widths[name][1] // 2) for name in readers]
    return whole.model_copy(update={"widths": tuple(sorted(changed))})


def write_pruned(path, **changes):
    torch.manual_seed(0)
    structure = pruned_structure().model_copy(update=changes)
    weights = build_module(structure).state_dict()
    contract = tiny_contract().model_copy(update={"source_digest": weights_digest(weights)})
    write_checkpoint(path, Checkpoint(structure, weights, contract))
    return path


def parameters(file):
    return sum(p.numel() for p in load_detector(file).module.parameters())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    torch.set_num_threads(1)
    return tiny_dataset(tmp_path_factory.mktemp("tiny") / "data", train=8, val=2)


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    return write_pruned(tmp_path_factory.mktemp("pruned") / "pruned.pt")


def test_a_pruned_start_keeps_its_channels(data, pruned, tmp_path):
    whole = write_untrained(tmp_path / "whole.pt")
    folder, _ = run(data, RECIPE, tmp_path / "run", start_from=pruned)
    assert parameters(folder.best) == parameters(folder.last) == parameters(pruned) < parameters(whole)
    assert read_checkpoint(folder.best).structure == pruned_structure()
    before, after = (read_checkpoint(file).weights for file in (pruned, folder.last))
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_resumed_run_keeps_them_and_goes_on_exactly(data, pruned, tmp_path):
    whole, _ = run(data, tiny_recipe(), tmp_path / "whole", start_from=pruned)
    cut, _ = run(data, tiny_recipe(), tmp_path / "cut", listener=CtrlC(1, 1), start_from=pruned)
    run(data, tiny_recipe(), cut.path, resume=True)
    assert without_times(cut.read_history()) == without_times(whole.read_history())
    ours, theirs = (read_checkpoint(folder.last) for folder in (cut, whole))
    assert ours.structure == theirs.structure == pruned_structure()
    assert all(torch.equal(ours.weights[name], theirs.weights[name]) for name in theirs.weights)


def test_a_pruned_student_learns_under_a_teacher(data, pruned, tmp_path):
    teacher = write_untrained(tmp_path / "teacher.pt")
    recipe = tiny_recipe(epochs=1, distillation=Distillation())
    folder = RunFolder(tmp_path / "run")
    folder.open_new()
    train(
        data, tiny_contract(recipe), recipe, folder, device=CPU, listener=Silence(), turned_ids=(0, 1, 2),
        start_from=pruned, teacher=teacher,
    )  # fmt: skip
    assert parameters(folder.best) == parameters(pruned)
    assert "loss_gid_feature" in folder.read_history()[0]
    adapter = read_checkpoint(folder.last).training["beside"]["levels.0.weight"]
    finest = {name: out for name, out, _ in pruned_structure().widths}["model.17.cv3.conv"]
    assert adapter.shape[1] == finest
    assert adapter.shape[0] == 2 * finest


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"scale": "n", "widths": None}, id="scale"),
        pytest.param({"reg_max": 8, "widths": None}, id="bins"),
        pytest.param(
            {"scale": "n", "widths": (("model.0.conv", 8, 1), ("model.1.conv", 32, 8))}, id="both"
        ),
    ],
)
def test_a_checkpoint_of_another_structure_is_refused(data, tmp_path, changes):
    other = write_pruned(tmp_path / "other.pt", **changes)
    with pytest.raises(CheckpointError, match="another structure"):
        run(data, RECIPE, tmp_path / "run", start_from=other)


def test_a_last_checkpoint_of_another_structure_is_refused(data, pruned, tmp_path):
    folder, _ = run(data, tiny_recipe(), tmp_path / "run", listener=CtrlC(0, 1), start_from=pruned)
    with pytest.raises(CheckpointError, match="another structure"):
        run(data, tiny_recipe(reg_max=8), folder.path, resume=True)


def test_distill_starts_from_a_pruned_checkpoint(pruned, tmp_path, monkeypatch):
    monkeypatch.setattr(distill.evaluation.scorecard, "LATENCY_RUNS", 2)
    monkeypatch.setattr(distill.training.finish, "write_run_page", lambda *_: None)
    write_tiny_dataset(tmp_path / "data", train=4, val=2)
    (tmp_path / "tiny.toml").write_text(TINY)
    arguments = [tmp_path / "data", "--recipe", tmp_path / "tiny.toml", "--out", tmp_path / "run"]
    done = CliRunner().invoke(app, [str(a) for a in (*arguments, "--start-from", pruned)])
    assert done.exit_code == 0, done.output
    assert parameters(tmp_path / "run" / "best.pt") == parameters(pruned)
    again = CliRunner().invoke(app, [str(a) for a in (*arguments[:1], *arguments[3:], "--resume")])
    assert again.exit_code == 0, again.output
    assert parameters(tmp_path / "run" / "best.pt") == parameters(pruned)
