"""Where a training begins: another run's checkpoint, with other classes or colours, or the shipped one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

import distill.evaluation.scorecard
import distill.training.finish
from distill.checkpoint import load_detector, read_checkpoint, weights_digest, write_checkpoint
from distill.commands.distill_cli import app
from distill.commands.slim import app as slim
from distill.core.run_folder import RunFolder
from distill.detector.build import build_module
from distill.evaluation.scorecard import SCORECARD_NAME, ScorecardRow, ancestry_of, append_row
from distill.settings.shipped import SHIPPED_CHECKPOINT, checkpoint_named
from distill.training.starting_point import shipped_thresholds
from distill.training.taking_weights import per_class_tensors, take_weights
from distill.training.training_run import prepare_run
from edge.bundle.opening import demo_bundle_path, open_bundle
from edge.core.errors import CheckpointError
from edge.core.files import file_digest
from edge.inference.model import contract_of
from tests.unit.distill.tiny import (
    tiny_contract,
    tiny_dataset,
    tiny_recipe,
    untrained_checkpoint,
    write_tiny_dataset,
    write_untrained,
)  # fmt: skip

CPU = torch.device("cpu")
FIRST = "model.0.conv.weight"
CLASS_BIAS = "model.24.cv3.0.2.bias"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("tiny") / "data", train=8, val=2)


def started(data, path, start, **changes):
    """Prepare a run and let it take the weights of a checkpoint."""
    recipe = tiny_recipe(**changes)
    run = prepare_run(data, tiny_contract(recipe), recipe, RunFolder(path), CPU, (0, 1, 2))
    before = {name: tensor.clone() for name, tensor in run.module.state_dict().items()}
    take_weights(run, start)
    return run, before


def with_names(path, *names):
    """Write an untrained checkpoint of other classes."""
    whole = untrained_checkpoint()
    structure = whole.structure.model_copy(update={"classes": len(names)})
    fresh = build_module(structure).state_dict()
    fits = {name: whole.weights[name].shape == tensor.shape for name, tensor in fresh.items()}
    weights = {name: whole.weights[name] if fits[name] else fresh[name] for name in fresh}
    thresholds = dict.fromkeys(names, 0.25)
    contract = whole.contract.model_copy(
        update={
            "class_names": names,
            "score_thresholds": thresholds,
            "source_digest": weights_digest(weights),
        }
    )
    write_checkpoint(path, replace(whole, structure=structure, weights=weights, contract=contract))
    return path


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("broken", "drop", "wrinkle"), id="another-order"),
        pytest.param(("wrinkle", "drop"), id="fewer"),
        pytest.param(("wrinkle", "drop", "broken", "oil"), id="more"),
    ],
)
def test_of_other_classes_all_is_taken_but_what_tells_the_classes_apart(data, tmp_path, names):
    start = with_names(tmp_path / "start.pt", *names)
    run, before = started(data, tmp_path / "run", start)
    theirs, ours = read_checkpoint(start).weights, run.module.state_dict()
    own = per_class_tensors(run.structure)
    assert own == {f"model.24.cv3.{level}.2.{kind}" for level in range(3) for kind in ("weight", "bias")}
    assert all(torch.equal(ours[name], before[name]) for name in own)
    rest = {name for name in ours if ours[name].is_floating_point()} - own
    assert all(torch.equal(ours[name], theirs[name]) for name in rest)
    assert all(torch.equal(tensor, ours[name]) for name, tensor in run.average.ema.state_dict().items())
    record = json.loads(run.folder.start_from.read_text())
    assert record["checkpoint"] == str(start)
    assert record["taken"] == len(rest)


def test_a_grey_detector_begins_one_for_colours_and_answers_grey_alike(data, tmp_path):
    start = tmp_path / "grey.pt"
    write_checkpoint(start, untrained_checkpoint())
    run, _ = started(data, tmp_path / "run", start, colour_order="bgr")
    grey = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        ours = run.module.eval()(grey.expand(-1, 3, -1, -1))[0]
        theirs = load_detector(start).module(grey)[0]
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-4)


def test_another_scale_is_refused_with_the_line_that_would_fit(data, tmp_path):
    start = tmp_path / "pico.pt"
    write_checkpoint(start, untrained_checkpoint())
    with pytest.raises(CheckpointError, match='set scale = "p" in the recipe'):
        started(data, tmp_path / "run", start, scale="n")


def test_the_shipped_checkpoint_is_the_shipped_bundle():
    detector = load_detector(checkpoint_named("shipped"))
    ours, theirs = contract_of(open_bundle(demo_bundle_path())), detector.contract
    for name in ("class_names", "input_size_hw_px", "colour_order", "enhancement", "geometry", "mm_per_px"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.source_digest == detector.file_digest
    assert checkpoint_named("other.pt").name == "other.pt"


def test_distill_goes_on_from_the_shipped_detector(tmp_path, monkeypatch):
    monkeypatch.setattr(distill.evaluation.scorecard, "LATENCY_RUNS", 2)
    monkeypatch.setattr(distill.training.finish, "write_run_page", lambda *_: None)
    data = write_tiny_dataset(tmp_path / "data", train=4, val=2)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'scale = "n"\ninput_size_hw_px = [64, 64]\noverlap_px = 8\nepochs = 1\nlearning_rate = 1e-9\n'
    )
    arguments = (data, "--recipe", recipe, "--out", tmp_path / "run", "--start-from", "shipped")
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "run/start_from.json").read_text())
    assert record["checkpoint"] == str(SHIPPED_CHECKPOINT)
    ours, theirs = (
        read_checkpoint(path).weights for path in (tmp_path / "run/best.pt", SHIPPED_CHECKPOINT)
    )
    torch.testing.assert_close(ours[FIRST], theirs[FIRST].float(), atol=1e-4, rtol=0)


def test_slim_halves_a_checkpoint_and_changes_next_to_nothing(tmp_path):
    write_checkpoint(tmp_path / "best.pt", untrained_checkpoint())
    done = CliRunner().invoke(slim, [str(tmp_path / "best.pt"), str(tmp_path / "small.pt")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "small.pt").stat().st_size < 0.6 * (tmp_path / "best.pt").stat().st_size
    tile = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        ours, theirs = (
            load_detector(tmp_path / f"{name}.pt").module(tile)[0] for name in ("small", "best")
        )
    torch.testing.assert_close(ours[:, 4:], theirs[:, 4:], atol=0.02, rtol=0)


def test_a_small_checkpoint_knows_what_it_was_made_from(tmp_path):
    best, small = tmp_path / "best.pt", tmp_path / "small.pt"
    write_checkpoint(best, untrained_checkpoint())
    for stage, file in (("train", best), ("export", best)):
        row = ScorecardRow(
            stage=stage,
            parameters=7,
            macs=9,
            file_size_bytes=1,
            map50=0.5,
            checkpoint_digest=file_digest(file),
        )
        append_row(tmp_path / SCORECARD_NAME, row)
    assert CliRunner().invoke(slim, [str(best), str(small)]).exit_code == 0
    rows = ancestry_of(small)
    assert [(row.stage, row.map50) for row in rows] == [("train", 0.5), ("float16 weights", None)]
    assert (rows[1].parameters, rows[1].file_size_bytes) == (7, small.stat().st_size)


def test_the_shipped_detector_has_the_thresholds_of_the_shipped_bundle(tmp_path):
    contract = contract_of(open_bundle(demo_bundle_path()))
    assert shipped_thresholds(SHIPPED_CHECKPOINT) == contract.score_thresholds
    assert contract.source_digest == file_digest(SHIPPED_CHECKPOINT)
    assert shipped_thresholds(write_untrained(tmp_path / "another.pt")) is None
