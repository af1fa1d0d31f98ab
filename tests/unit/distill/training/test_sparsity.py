from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from distill.checkpoint import read_checkpoint
from distill.core.run_folder import RunFolder
from distill.data.tiles import TrainingTiles, batches, showings
from distill.detector.build import build_module
from distill.gid.teacher import load_teacher
from distill.settings.distillation import Distillation
from distill.settings.structure import DetectorStructure
from distill.settings.tables import Sparsity
from distill.training.scales import BINS, LARGEST_SCALE, add_penalty, draw_scales, scale_figures, scales
from distill.training.train import _step
from distill.training.training_run import prepare_run
from tests.unit.distill.tiny import tiny_contract, tiny_dataset, tiny_recipe, write_untrained
from tests.unit.distill.training.test_train import CtrlC, run, without_times

CPU = torch.device("cpu")
STRONG = Sparsity(strength=0.5)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("tiny") / "data", train=8, val=2)


@pytest.mark.parametrize(
    ("epoch", "strength"), [(0, 1e-2), (5, 5.5e-3), (10, 1e-3)], ids=["first", "half", "end"]
)
def test_the_strength_falls_in_a_line_to_a_tenth(epoch, strength):
    assert Sparsity(strength=1e-2).strength_at(epoch, 10) == pytest.approx(strength)


@given(st.floats(1e-6, 1), st.floats(0, 1), st.integers(1, 500))
def test_the_strength_never_rises_and_stays_positive(strength, final_share, epochs):
    settings = Sparsity(strength=strength, final_share=final_share)
    values = [settings.strength_at(epoch, epochs) for epoch in range(epochs)]
    assert values == sorted(values, reverse=True)
    assert all(0 < value <= strength for value in values)


def test_every_scale_of_a_detector_is_drawn_to_zero_from_its_side():
    module = build_module(DetectorStructure(scale="p", channels=1, classes=3))
    normalised = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(list(scales(module))) == len(normalised) > 50
    for layer in normalised:
        layer.weight.data[0], layer.weight.data[1] = -0.5, 0.0
        layer.weight.grad = torch.zeros_like(layer.weight)
    normalised[0].weight.grad = None  # frozen
    add_penalty(module, 0.25)
    assert normalised[0].weight.grad is None
    for layer in normalised[1:]:
        assert layer.weight.grad[:3].tolist() == [-0.25, 0, 0.25]
        assert layer.bias.grad is None


def gradients_of_one_step(data, folder, sparsity, scaler, precision):
    recipe = tiny_recipe(sparsity=sparsity, precision=precision, gradient_norm_limit=1e-3)
    run = prepare_run(data, tiny_contract(), recipe, RunFolder(folder), CPU, (0, 1, 2))
    run = replace(run, scaler=scaler, module=run.module.train())
    order = run.train_plan.epoch_order(0, 0, 0.3, 0.0)[:4]
    tiles = TrainingTiles(
        run.train_plan, showings(order), run.contract, recipe.augmentation, (0, 0), (0, 1, 2)
    )
    images, targets = next(iter(batches(tiles, 4, 0)))
    _step(run, images, targets, 0.0)
    return [scale.grad for scale in scales(run.module)]


@pytest.mark.parametrize(
    ("loss_scale", "precision"),
    [
        pytest.param(None, "float32", id="float32"),
        pytest.param(1024.0, "float32", id="scaled"),
        pytest.param(None, "bf16", id="bf16"),
    ],
)
def test_the_penalty_is_neither_scaled_nor_clipped_away(data, tmp_path, loss_scale, precision):
    def scaler():
        return torch.amp.GradScaler("cpu", init_scale=loss_scale or 1.0, enabled=loss_scale is not None)

    plain = gradients_of_one_step(data, tmp_path, None, scaler(), precision)
    drawn = gradients_of_one_step(data, tmp_path, STRONG, scaler(), precision)
    for ours, theirs in zip(drawn, plain, strict=True):
        assert torch.allclose(ours - theirs, torch.full_like(ours, 0.5), atol=1e-6)
    assert max(float(gradient.norm()) for gradient in plain) <= 1e-3


def test_the_history_counts_every_scale_once():
    module = nn.Sequential(nn.BatchNorm2d(8), nn.BatchNorm2d(4))
    module[0].weight.data[:] = torch.tensor([0.0, 1e-6, -0.01, 0.5, -0.5, 1.0, 5.0, -5.0])
    figures = scale_figures(module)
    assert len(figures["scale_counts"]) == BINS
    assert sum(figures["scale_counts"]) == 12
    assert figures["scale_counts"][0] == 3
    assert figures["scale_counts"][-1] == 2
    assert figures["scale_quantiles"][1] == 1.0


def test_the_image_shows_the_epochs_that_have_scales():
    module = nn.BatchNorm2d(8)
    rows = [{"epoch": 0}, *({"epoch": epoch, **scale_figures(module)} for epoch in (1, 2, 3))]
    axes = draw_scales(rows).axes[0]
    assert axes.get_xlim() == (1.5, 4.5)
    assert axes.get_ylim() == (0, LARGEST_SCALE)
    assert len(axes.lines) == 3


def test_sparse_training_draws_scales_down_and_resumes_exactly(data, tmp_path):
    recipe = tiny_recipe(sparsity=STRONG, learning_rate=1e-2)
    whole, _ = run(data, recipe, tmp_path / "whole")
    rows = whole.read_history()
    assert rows[1]["scale_quantiles"][1] < rows[0]["scale_quantiles"][1] < 1
    cut, done = run(data, recipe, tmp_path / "cut", listener=CtrlC(1, 1))
    assert not done
    cut.scales.unlink()
    run(data, recipe, cut.path, resume=True)
    assert without_times(cut.read_history()) == without_times(rows)
    assert cut.scales.read_bytes() == whole.scales.read_bytes()
    ours, theirs = (read_checkpoint(folder.last).weights for folder in (cut, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_without_the_table_nothing_is_drawn(data, tmp_path):
    folder, _ = run(data, tiny_recipe(epochs=1), tmp_path / "plain")
    assert not folder.scales.exists()
    assert "scale_counts" not in folder.read_history()[0]


def test_a_student_under_a_teacher_is_made_sparse_and_its_adapters_are_not(data, tmp_path):
    recipe = tiny_recipe(sparsity=STRONG, distillation=Distillation())
    teacher = load_teacher(write_untrained(tmp_path / "teacher.pt"), tiny_contract())
    run = prepare_run(data, tiny_contract(), recipe, RunFolder(tmp_path), CPU, (0, 1, 2), teacher)
    run.module.train()
    order = run.train_plan.epoch_order(0, 0, 0.3, 0.0)[:4]
    tiles = TrainingTiles(
        run.train_plan, showings(order), run.contract, recipe.augmentation, (0, 0), (0, 1, 2)
    )
    images, targets = next(iter(batches(tiles, 4, 0)))
    parts = _step(run, images, targets, 0.0)
    assert any(name.startswith("gid_") for name in parts)
    assert all(float(scale.grad.mean()) > 0.4 for scale in scales(run.module))
    assert all(float(p.grad.abs().mean()) < 0.4 for p in run.beside.parameters() if p.grad is not None)


def test_only_the_student_itself_is_made_sparse():
    recipe = tiny_recipe(sparsity=Sparsity())
    assert recipe.alone().sparsity == Sparsity()
    assert recipe.of_teacher().sparsity is None
