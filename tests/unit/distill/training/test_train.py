from __future__ import annotations

import errno
import json
import os
import signal

import pytest
import torch

from distill.checkpoint import load_detector, read_checkpoint
from distill.core.precision import choose_precision
from distill.core.run_folder import RunFolder
from distill.core.schedule import Schedule
from distill.data.tiles import TilePlan, TrainingTiles, batches, showings
from distill.detector.build import DetectionTask, build_module
from distill.evaluation.scorecard import SCORECARD_NAME, read_rows
from distill.settings.structure import DetectorStructure
from distill.settings.tables import Augmentation
from distill.training.finish import finish
from distill.training.train import train
from edge.core.errors import CheckpointError, ConfigError, DatasetError, OutputError, TrainingError
from edge.core.files import file_digest
from tests.unit.distill.tiny import Silence, tiny_contract, tiny_dataset, tiny_recipe

CPU = torch.device("cpu")


class CtrlC(Silence):
    """Press Ctrl-C after some steps of an epoch."""

    def __init__(self, epoch, batch):
        self._at = (epoch, batch)

    def batch_done(self, epoch, done, total, loss):
        if (epoch, done) == self._at:
            signal.raise_signal(signal.SIGINT)


def run(data, recipe, path, *, listener=None, resume=False, start_from=None):
    folder = RunFolder(path)
    if not resume:
        folder.open_new()
    done = train(
        data,
        tiny_contract(recipe),
        recipe,
        folder,
        device=CPU,
        listener=listener or Silence(),
        turned_ids=(0, 1, 2),
        resume=resume,
        start_from=start_from,
    )
    return folder, done


def without_times(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("tiny") / "data")


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    recipe = tiny_recipe()
    folder, done = run(data, recipe, tmp_path_factory.mktemp("runs") / "whole")
    assert done
    return folder


def test_the_loss_falls_on_one_batch(data):
    """At first nothing overlaps and the loss is small: it rises while boxes are found, then falls.

    How far depends on the processor, that it does not.
    """
    torch.manual_seed(0)
    contract = tiny_contract()
    plan = TilePlan(data.train, contract, 0.2, cache_mb=8)
    with_defects = plan.epoch_order(0, 0, 0.0)[:8]
    tiles = TrainingTiles(
        plan, showings(with_defects), contract, Augmentation(zoom_share=0), (0, 0), (0, 1, 2)
    )
    images, targets = next(iter(batches(tiles, 8, 0)))
    module = build_module(DetectorStructure(scale="p", channels=1, classes=3)).train()
    task = DetectionTask(module, choose_precision("float32", CPU))
    optimizer = torch.optim.AdamW(module.parameters(), lr=2e-3)
    losses = []
    for _ in range(80):
        parts = task.loss_parts(images, targets)
        loss = torch.stack(list(parts.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert set(parts) == {"box", "class", "dfl"}
    assert max(losses[-5:]) < max(losses)


def test_the_history_names_the_parts_of_the_loss(whole):
    rows = whole.read_history()
    assert [row["epoch"] for row in rows] == [0, 1]
    for row in rows:
        parts = row["loss_box"] + row["loss_class"] + row["loss_dfl"]
        assert row["loss"] == pytest.approx(parts)


@pytest.mark.parametrize("at", [(1, 2), (0, 1)], ids=["second-epoch", "first-epoch"])
def test_a_run_that_was_interrupted_goes_on_exactly(data, whole, tmp_path, at):
    recipe = tiny_recipe()
    folder, done = run(data, recipe, tmp_path / "cut", listener=CtrlC(*at))
    assert not done
    assert read_checkpoint(folder.last).training["batch"] == at[1]
    _, done = run(data, recipe, tmp_path / "cut", resume=True)
    assert done
    assert without_times(folder.read_history()) == without_times(whole.read_history())
    ours, theirs = (read_checkpoint(f.last).weights for f in (folder, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_run_that_repeats_rare_classes_goes_on_exactly(data, tmp_path):
    """A tile that comes twice is augmented again the second time, also after a break in between."""
    recipe = tiny_recipe(epochs=1, rare_class_share=1.0)
    plan = TilePlan(data.train, tiny_contract(recipe), data.mm_per_px, cache_mb=8)
    order = plan.epoch_order(0, recipe.seed, recipe.empty_tile_share, recipe.rare_class_share)
    breaks = range(recipe.batch, len(order), recipe.batch)
    place = next(place for place in breaks if {*order[:place]} & {*order[place:]})
    whole, _ = run(data, recipe, tmp_path / "whole")
    cut, done = run(data, recipe, tmp_path / "cut", listener=CtrlC(0, place // recipe.batch))
    assert not done
    run(data, recipe, tmp_path / "cut", resume=True)
    ours, theirs = (read_checkpoint(folder.last).weights for folder in (cut, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_kill_between_history_and_checkpoint_leaves_no_double_row(data, whole, tmp_path):
    recipe = tiny_recipe()
    folder, _ = run(data, recipe, tmp_path / "killed", listener=CtrlC(1, 1))
    folder.append_history({"epoch": 1, "loss": 0.0})
    run(data, recipe, tmp_path / "killed", resume=True)
    assert without_times(folder.read_history()) == without_times(whole.read_history())


def test_the_last_word_is_written_down(data, whole):
    summary = finish(data, tiny_recipe(), whole)
    row = read_rows(whole.path / SCORECARD_NAME)[-1]
    detector = load_detector(whole.best)
    assert row.stage == "train"
    assert row.checkpoint_digest == detector.file_digest
    assert row.map50 == summary.map50
    assert row.latency is not None
    assert 0 < row.latency.p50_ms <= row.latency.p99_ms
    assert row.false_alarms_per_clean_m2 is not None
    assert json.loads(whole.metrics.read_text())["map50_95"] == summary.map50_95
    assert set(detector.contract.score_thresholds) == {"wrinkle", "drop", "broken"}
    assert all(0.05 <= value <= 0.9 for value in detector.contract.score_thresholds.values())
    assert detector.contract.mm_per_px == 0.2


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(data, tmp_path):
    recipe = tiny_recipe()
    folder, _ = run(data, recipe, tmp_path / "nan", listener=CtrlC(1, 1))
    content = torch.load(folder.last, weights_only=True)
    for tensor in content["training"]["weights"].values():
        tensor *= float("nan") if tensor.is_floating_point() else 1
    torch.save(content, folder.last)
    before = folder.best.read_bytes(), folder.last.read_bytes()
    with pytest.raises(TrainingError, match="epoch 2"):
        run(data, recipe, tmp_path / "nan", resume=True)
    assert (folder.best.read_bytes(), folder.last.read_bytes()) == before


def test_the_checkpoint_that_a_run_starts_from_is_recorded(data, whole, tmp_path):
    recipe = tiny_recipe(epochs=1, learning_rate=1e-9)
    folder, _ = run(data, recipe, tmp_path / "run", listener=CtrlC(0, 1), start_from=whole.best)
    record = json.loads(folder.start_from.read_text())
    assert record == {"checkpoint": str(whole.best), "sha256": file_digest(whole.best)}
    ours, theirs = (read_checkpoint(file).weights for file in (folder.last, whole.best))
    learnt = [name for name in theirs if "running_" not in name and "num_batches" not in name]
    assert all(torch.allclose(ours[name].float(), theirs[name].float(), atol=1e-2) for name in learnt)
    run(data, recipe, folder.path, resume=True)
    assert json.loads(folder.start_from.read_text()) == record
    with pytest.raises(ValueError, match="start_from"):
        run(data, recipe, folder.path, resume=True, start_from=whole.best)


def test_the_record_of_a_start_that_failed_does_not_stay(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_json(folder.start_from, {})
    folder.open_new()
    assert not folder.start_from.exists()


def test_a_full_disk_leaves_the_history_as_it_was(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    for epoch in range(3):
        folder.append_history({"epoch": epoch})
    before = folder.history.read_bytes()

    def no_space(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OutputError, match=r"history\.jsonl: No space left"):
        folder.keep_history_before(2)
    assert folder.history.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["history.jsonl"]


def test_a_changed_data_set_cannot_be_resumed(data, tmp_path):
    folder, _ = run(data, tiny_recipe(), tmp_path / "run", listener=CtrlC(0, 1))
    other = tiny_dataset(tmp_path / "other", train=10)
    with pytest.raises(DatasetError, match="not the one"):
        run(other, tiny_recipe(), folder.path, resume=True)


def test_a_finished_model_cannot_be_resumed(data, whole, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.pt").write_bytes(whole.best.read_bytes())
    with pytest.raises(CheckpointError, match="no training state"):
        run(data, tiny_recipe(), tmp_path / "run", resume=True)


def test_a_run_is_not_overwritten(whole):
    with pytest.raises(ConfigError, match="--resume"):
        whole.open_new()


def test_patience_and_time_end_a_run(data, tmp_path):
    recipe = tiny_recipe(epochs=50, learning_rate=1e-9, patience_epochs=1)
    folder, done = run(data, recipe, tmp_path / "patience")
    assert done
    assert len(folder.read_history()) < 6
    folder, done = run(data, tiny_recipe(epochs=500, time_limit_min=0.02), tmp_path / "time")
    assert done
    assert folder.read_history()[-1]["learning_rate"] < tiny_recipe().learning_rate


def test_workers_serve_the_same_tiles(data, whole, tmp_path):
    recipe = tiny_recipe(epochs=1, workers=1)
    folder, _ = run(data, recipe, tmp_path / "workers")
    alone, _ = run(data, tiny_recipe(epochs=1), tmp_path / "alone")
    assert without_times(folder.read_history()) == without_times(alone.read_history())


@pytest.mark.parametrize(
    ("step", "elapsed_s", "rate"),
    [
        pytest.param(0, 0, 0.1, id="first"),
        pytest.param(9, 0, 0.98, id="risen"),
        pytest.param(50, 0, 0.5, id="half-way"),
        pytest.param(99, 0, 0.0, id="last"),
        pytest.param(10, 30, 0.5, id="half-the-time"),
        pytest.param(10, 600, 0.0, id="overtime"),
    ],
)
def test_schedule(step, elapsed_s, rate):
    schedule = Schedule(1.0, 0.0, warmup_steps=10, total_steps=100, time_limit_s=60)
    assert schedule.learning_rate(step, elapsed_s) == pytest.approx(rate, abs=0.011)
