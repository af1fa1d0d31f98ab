from __future__ import annotations

import os
import signal

import pytest
import torch

from distill.core.run_folder import RunFolder
from distill.labels.formats.registry import read_labels
from distill.labels.sam.examples import examples_of, masks_of_labels
from distill.labels.sam.finetune import MODEL_FOLDER, SamRun, finetune, prepare_run
from distill.labels.sam.loading import load_sam
from distill.labels.sam.settings import SamFinetuneSettings
from edge.core.errors import CheckpointError, ConfigError, DatasetError, TrainingError
from edge.core.taxonomy import load_taxonomy
from tests.small_models.sam import write_small_sam
from tests.unit.distill.labels.sam.sets import ellipse_set

SETTINGS = SamFinetuneSettings(epochs=2, batch=2, learning_rate=1e-3)


class Silence:
    def batch_done(self, epoch, done, total, loss):
        pass

    def epoch_done(self, row):
        pass


class Interrupting(Silence):
    """Press Ctrl-C after so many steps."""

    def __init__(self, steps):
        self.left = steps

    def batch_done(self, epoch, done, total, loss):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    source = ellipse_set(tmp_path_factory.mktemp("sam_set"))
    label_set = read_labels(source, load_taxonomy())
    masks, _ = masks_of_labels(label_set, source)
    return tuple(examples_of(label_set, masks, split, None) for split in ("train", "val"))


def taught(base, examples, path, settings=SETTINGS, **keywords):
    folder = RunFolder(path)
    if not keywords.get("resume"):
        folder.open_new()
    keywords.setdefault("listener", Silence())
    is_done = finetune(load_sam(str(base)), *examples, settings, folder, **keywords)
    return folder, is_done


@pytest.fixture(scope="module")
def whole(base, examples, tmp_path_factory):
    return taught(base, examples, tmp_path_factory.mktemp("sam_run") / "run")[0]


def weights_of(folder):
    return load_sam(str(folder.path / MODEL_FOLDER)).model.state_dict()


def rows_of(folder):
    return [{key: row[key] for key in row if key != "seconds"} for row in folder.read_history()]


def test_a_run_leaves_history_and_a_model_that_can_be_loaded(whole):
    rows = whole.read_history()
    assert [row["epoch"] for row in rows] == [0, 1]
    assert all(0 <= row["val_iou"] <= 1 and 0 <= row["train_iou"] <= 1 for row in rows)
    assert weights_of(whole)
    assert (whole.path / "metrics.json").is_file()


def test_only_the_mask_decoder_learns(base, examples, tmp_path):
    sam = load_sam(str(base))
    before = {name: weight.clone() for name, weight in sam.model.state_dict().items()}
    run = prepare_run(sam, *examples, SETTINGS, RunFolder(tmp_path))
    assert run.weights
    assert all(name.startswith("mask_decoder.") for name in run.weights)
    folder = RunFolder(tmp_path / "run")
    folder.open_new()
    finetune(sam, *examples, SETTINGS, folder, listener=Silence())
    changed = {
        name for name, weight in sam.model.state_dict().items() if not torch.equal(weight, before[name])
    }
    assert all(name.startswith("mask_decoder.") for name in changed)
    assert changed


def test_masks_get_better(examples, tmp_path):
    base = write_small_sam(tmp_path / "base")
    settings = SETTINGS.model_copy(update={"epochs": 12, "learning_rate": 3e-3})
    folder, _ = taught(base, examples, tmp_path / "run", settings)
    rows = folder.read_history()
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert max(row["val_iou"] for row in rows) > 0.4


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_an_interrupted_run_ends_as_one_that_was_not(base, examples, whole, tmp_path, steps):
    folder, is_done = taught(base, examples, tmp_path / "run", listener=Interrupting(steps))
    assert not is_done
    assert not (folder.path / MODEL_FOLDER).exists()
    assert SamRun.settings_in(folder) == SETTINGS
    folder, is_done = taught(base, examples, folder.path, resume=True)
    assert is_done
    assert rows_of(folder) == rows_of(whole)
    ours, theirs = weights_of(folder), weights_of(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_small_memory_changes_nothing(base, examples, whole, tmp_path):
    folder, _ = taught(base, examples, tmp_path / "run", SETTINGS.model_copy(update={"cache_mb": 0}))
    assert rows_of(folder) == rows_of(whole)


def test_weights_that_make_it_worse_are_not_kept(base, examples, tmp_path):
    """With a rate of 1 every epoch is worse than a model that was taught before."""
    settings = SETTINGS.model_copy(update={"epochs": 8, "learning_rate": 3e-3})
    first, _ = taught(base, examples, tmp_path / "first", settings)
    ruinous = SETTINGS.model_copy(update={"epochs": 1, "learning_rate": 1.0, "warmup_share": 0.0})
    second, _ = taught(first.path / MODEL_FOLDER, examples, tmp_path / "second", ruinous)
    ours, theirs = weights_of(second), weights_of(first)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_another_model_other_settings_and_other_labels_are_refused_on_resuming(
    base, examples, whole, tmp_path
):
    other = write_small_sam(tmp_path / "other", seed=9)
    with pytest.raises(CheckpointError, match="another model"):
        taught(other, examples, whole.path, resume=True)
    with pytest.raises(ConfigError, match="other settings"):
        taught(base, examples, whole.path, SETTINGS.model_copy(update={"epochs": 9}), resume=True)
    with pytest.raises(DatasetError, match="not those this run was started with"):
        taught(base, (examples[0][:3], examples[1]), whole.path, resume=True)
    with pytest.raises(CheckpointError, match="There is no"):
        taught(base, examples, tmp_path / "nothing", resume=True)


def test_a_loss_that_is_not_finite_stops(base, examples, tmp_path):
    sam = load_sam(str(base))
    with torch.no_grad():
        sam.model.mask_decoder.upscale_conv1.bias.fill_(float("nan"))
    folder = RunFolder(tmp_path / "run")
    folder.open_new()
    with pytest.raises(TrainingError, match="not finite at step 1"):
        finetune(sam, *examples, SETTINGS, folder, listener=Silence())
