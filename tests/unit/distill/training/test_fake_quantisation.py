"""Training for INT8: the table [fake_quantisation] and --fake-quantise."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from distill.checkpoint import load_detector, read_checkpoint
from distill.commands.distill_cli import _recipe_of_run
from distill.core.run_folder import RunFolder
from distill.data.tiles import TrainingTiles, batches, showings
from distill.gid.teacher import load_teacher
from distill.settings.distillation import Distillation
from distill.settings.tables import FakeQuantisation
from distill.training.fake_quantiser import FakeQuantised, rounding_of
from distill.training.train import _step
from distill.training.training_run import prepare_run
from edge.core.errors import CheckpointError, ConfigError
from tests.unit.distill.tiny import tiny_contract, tiny_dataset, tiny_recipe, write_untrained
from tests.unit.distill.training.test_train import CtrlC, run, without_times
from tests.unit.distill.training.test_training_on import pruned_structure, write_pruned

CPU = torch.device("cpu")
ROUNDED = tiny_recipe(fake_quantisation=FakeQuantisation())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    torch.set_num_threads(1)
    return tiny_dataset(tmp_path_factory.mktemp("tiny") / "data", train=8, val=2)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """Train a pruned detector for INT8 without a break."""
    root = tmp_path_factory.mktemp("whole")
    folder, _ = run(data, ROUNDED, root / "run", start_from=write_pruned(root / "pruned.pt"))
    return folder


def test_a_pruned_detector_is_trained_on_and_stays_an_ordinary_checkpoint(data, whole):
    detector = load_detector(whole.best)
    assert detector.checkpoint.structure == pruned_structure()
    ranges = read_checkpoint(whole.last).training["ranges"]
    assert len(ranges) == len(rounding_of(detector.module, 1.0).ranges) > 30
    assert torch.isfinite(ranges).all()
    assert (ranges > 0).all()


def test_it_is_rounded_while_it_learns_and_while_it_is_judged(data, whole, tmp_path):
    plain, _ = run(
        data, tiny_recipe(epochs=1), tmp_path / "plain", start_from=write_pruned(tmp_path / "p.pt")
    )
    losses = [folder.read_history()[0]["loss"] for folder in (plain, whole)]
    assert losses[0] != losses[1]
    prepared = prepare_run(data, tiny_contract(), ROUNDED, RunFolder(tmp_path), CPU, (0, 1, 2))
    assert isinstance(prepared.to_validate, FakeQuantised)
    assert prepared.to_validate.detector is prepared.average.ema


def test_a_stopped_run_goes_on_exactly(data, whole, tmp_path):
    start = write_pruned(tmp_path / "pruned.pt")
    cut, done = run(data, ROUNDED, tmp_path / "cut", listener=CtrlC(1, 1), start_from=start)
    assert not done
    run(data, ROUNDED, cut.path, resume=True)
    assert without_times(cut.read_history()) == without_times(whole.read_history())
    ours, theirs = (read_checkpoint(folder.last) for folder in (cut, whole))
    assert torch.equal(ours.training["ranges"], theirs.training["ranges"])
    assert all(torch.equal(ours.weights[name], theirs.weights[name]) for name in theirs.weights)


def test_a_run_that_was_not_rounded_does_not_become_one(data, tmp_path):
    folder, _ = run(data, tiny_recipe(), tmp_path / "plain", listener=CtrlC(0, 1))
    with pytest.raises(CheckpointError, match="does not fit this run"):
        run(data, ROUNDED, folder.path, resume=True)


def test_a_student_under_a_teacher_is_rounded_too(data, tmp_path):
    recipe = tiny_recipe(fake_quantisation=FakeQuantisation(), distillation=Distillation())
    teacher = load_teacher(write_untrained(tmp_path / "teacher.pt"), tiny_contract())
    prepared = prepare_run(data, tiny_contract(), recipe, RunFolder(tmp_path), CPU, (0, 1, 2), teacher)
    prepared.module.train()
    order = prepared.train_plan.epoch_order(0, 0, 0.3, 0.0)[:4]
    tiles = TrainingTiles(
        prepared.train_plan, showings(order), prepared.contract, recipe.augmentation, (0, 0), (0, 1, 2)
    )
    images, targets = next(iter(batches(tiles, 4, 0)))
    assert any(name.startswith("gid_") for name in _step(prepared, images, targets, 0.0))
    assert torch.isfinite(prepared.rounding.ranges).all()


def test_bfloat16_is_rounded_as_well(data, tmp_path):
    recipe = ROUNDED.model_copy(update={"precision": "bf16"})
    prepared = prepare_run(data, tiny_contract(), recipe, RunFolder(tmp_path), CPU, (0, 1, 2))
    prepared.module.train()
    order = prepared.train_plan.epoch_order(0, 0, 0.3, 0.0)[:2]
    tiles = TrainingTiles(
        prepared.train_plan, showings(order), prepared.contract, recipe.augmentation, (0, 0), (0, 1, 2)
    )
    images, targets = next(iter(batches(tiles, 2, 0)))
    assert all(loss == loss for loss in _step(prepared, images, targets, 0.0).values())
    assert torch.isfinite(prepared.rounding.ranges).all()


def test_only_the_student_itself_is_rounded():
    assert ROUNDED.alone().fake_quantisation == FakeQuantisation()
    assert ROUNDED.of_teacher().fake_quantisation is None


def test_the_flag_adds_the_table_and_keeps_one_that_is_there(tmp_path):
    file = tmp_path / "mine.toml"
    folder, none = RunFolder(tmp_path / "run"), {"epochs": None, "seed": None}
    file.write_text("[fake_quantisation]\nrange_share = 0.5\n")
    kept = _recipe_of_run(folder, str(file), none, False, False, True)
    assert kept.fake_quantisation == FakeQuantisation(range_share=0.5)
    asked = _recipe_of_run(folder, "smoke", none, False, False, True)
    assert asked.fake_quantisation == FakeQuantisation()
    assert _recipe_of_run(folder, "smoke", none, False, False, False).fake_quantisation is None


def test_a_resumed_run_keeps_what_it_began_with(data, whole, tmp_path):
    none = {"epochs": None, "seed": None}
    for flag in (False, True):
        assert _recipe_of_run(whole, None, none, True, False, flag) == ROUNDED
    plain, _ = run(data, tiny_recipe(epochs=1), tmp_path / "plain")
    with pytest.raises(ConfigError, match="has fake_quantisation = None"):
        _recipe_of_run(plain, None, none, True, False, True)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1])
def test_a_share_out_of_range(fraction):
    with pytest.raises(ValidationError, match="range_share"):
        FakeQuantisation(range_share=fraction)
