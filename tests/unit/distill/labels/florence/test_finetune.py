from __future__ import annotations

import json
import signal
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from distill.core.run_folder import RunFolder
from distill.labels.annotators.divergence import DivergenceWatch
from distill.labels.annotators.run_state import read_state
from distill.labels.florence.finetune import TeacherRun, finetune
from distill.labels.florence.grammar import TokenIds
from distill.labels.florence.loading import load_teacher
from distill.labels.florence.settings import LoraSettings
from distill.labels.florence.tasks import AnswerExample
from distill.labels.florence.teaching import IGNORED, labels_of, loss_of
from distill.labels.florence.timetable import epoch_batches, exercises_of
from edge.core.errors import CheckpointError, ConfigError, DatasetError, TrainingError
from tests.unit.distill.labels.florence.small import TAXONOMY, Silence, small_set, small_settings


class CtrlC(Silence):
    """Press Ctrl-C after some steps of an epoch."""

    def __init__(self, epoch, batch):
        self.at = (epoch, batch)

    def batch_done(self, epoch, done, total, loss):
        if (epoch, done) == self.at:
            signal.raise_signal(signal.SIGINT)


class Kill(Silence):
    """Fall over without a word after some steps, as under kill -9."""

    def __init__(self, epoch, batch):
        self.at = (epoch, batch)

    def batch_done(self, epoch, done, total, loss):
        if (epoch, done) == self.at:
            raise MemoryError


def run(base, labels, path, settings=None, listener=None, resume=False):
    folder = RunFolder(path)
    if not resume:
        folder.open_new()
    return finetune(
        load_teacher(str(base)), labels, TAXONOMY, settings or small_settings(), folder,
        listener=listener or Silence(), resume=resume,
    )  # fmt: skip


def weights_of(path):
    return read_state(path / "last.pt")["weights"]


def assert_same_run(ours, theirs):
    for name, weight in weights_of(ours).items():
        assert torch.equal(weight, weights_of(theirs)[name]), name
    rows = [
        [json.loads(line) for line in (path / "history.jsonl").read_text().splitlines()]
        for path in (ours, theirs)
    ]
    for row in (*rows[0], *rows[1]):
        row.pop("seconds")
    assert rows[0] == rows[1]


def test_padding_is_not_learnt(base):
    teacher = load_teacher(str(base))
    tokenizer = teacher.processor.tokenizer
    answers = ["drop<loc_1><loc_2><loc_3><loc_4>", ""]
    labels = labels_of(tokenizer, [AnswerExample("detection", "<OD>", answer) for answer in answers], 64)
    assert labels[0].tolist()[0] == tokenizer.bos_token_id
    assert labels[0].tolist()[-1] == tokenizer.eos_token_id
    assert labels[1].tolist() == [0, 2, *[IGNORED] * 5]
    assert labels_of(tokenizer, [AnswerExample("detection", "<OD>", answers[0] * 9)], 8).shape == (1, 8)


def test_soft_places_cost_less_near_the_right_one(base):
    teacher = load_teacher(str(base))
    ids = TokenIds.of(teacher.processor.tokenizer)
    labels = torch.tensor([[ids.locations[500]]])

    class Sure:
        """A model that is sure of one bin."""

        def __init__(self, bin_number):
            self.logits = torch.zeros(1, 1, len(teacher.processor.tokenizer))
            self.logits[0, 0, ids.locations[bin_number]] = 8.0
            self.loss = torch.tensor(0.0)

        def __call__(self, **_):
            return self

    locations = torch.tensor(ids.locations)
    right, near, far = (
        float(loss_of(Sure(bin_number), {"labels": labels}, locations, 4.0))
        for bin_number in (500, 503, 900)
    )
    assert right < near < far


def test_places_that_are_read_back_are_near_the_right_ones_and_words_are_right(base):
    tokenizer = load_teacher(str(base)).processor.tokenizer
    locations = torch.tensor(TokenIds.of(tokenizer).locations)
    examples = [AnswerExample("detection", "<OD>", "drop<loc_100><loc_500><loc_0><loc_999>")] * 40
    labels = labels_of(tokenizer, examples, 64)
    read = []

    def model(labels, use_cache):
        read.append(labels)
        return SimpleNamespace(logits=torch.zeros(*labels.shape, len(tokenizer)))

    loss_of(model, {"labels": labels}, locations, 4.0)
    is_place = torch.isin(labels, locations)
    assert torch.equal(read[0][~is_place], labels[~is_place])
    away = (read[0][is_place] - labels[is_place]).abs()
    assert 1 < away.float().mean() < 8
    assert away.max() < 30


def test_the_order_of_tasks_is_kept_and_depends_on_seed_and_epoch(labels):
    tasks = ("detection", "dense_region_caption", "grounding")
    train = [image for image in labels.images if image.split == "train"]
    exercises = exercises_of(train, TAXONOMY, tasks)
    settings = small_settings(tasks=tasks, batch=4)
    batches = epoch_batches(exercises, settings, epoch=0)
    order = [{turn.exercise.task for turn in batch} for batch in batches]
    assert order == [{task} for task in tasks for _ in range(2)]
    assert batches == epoch_batches(exercises, settings, epoch=0)
    assert batches != epoch_batches(exercises, settings, epoch=1)
    mixed = epoch_batches(exercises, small_settings(tasks=tasks, batch=3, task_order="interleaved"), 0)
    assert [[turn.exercise.task for turn in batch] for batch in mixed] == [list(tasks)] * len(train)


def test_a_run_leaves_all_its_files_and_learns(base, labels, tmp_path):
    settings = small_settings(lora=None, epochs=6, learning_rate=3e-3, flip_share=0.0)
    assert run(base, labels, tmp_path / "run", settings)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"best.pt", "last.pt", "history.jsonl", "curves.png", "model"}
    rows = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(6))
    assert rows[-1]["loss"] < rows[0]["loss"] - 1
    assert rows[-1]["map50"] is not None
    load_teacher(str(tmp_path / "run" / "model"))


def test_adapters_are_published_merged_and_alone(base, labels, tmp_path):
    settings = small_settings(lora=LoraSettings(r=2, alpha=4), epochs=1, learning_rate=1e-2)
    assert run(base, labels, tmp_path / "run", settings)
    alone = load_teacher(str(base), tmp_path / "run" / "adapter")
    whole = load_teacher(str(tmp_path / "run" / "model"))
    tokens = {"input_ids": torch.tensor([[0, 9, 2]]), "decoder_input_ids": torch.tensor([[2, 0, 7]])}
    with torch.inference_mode():
        torch.testing.assert_close(
            alone.model(**tokens).logits, whole.model(**tokens).logits, atol=1e-5, rtol=1e-4
        )


def test_frozen_weights_do_not_move(base, labels, tmp_path):
    before = dict(load_teacher(str(base)).model.named_parameters())
    settings = small_settings(lora=None, epochs=1, freeze_vision=True, weight_decay=0.1)
    assert run(base, labels, tmp_path / "run", settings)
    after = dict(load_teacher(str(tmp_path / "run" / "model")).model.named_parameters())
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert not any("vision_tower" in name or "multi_modal_projector" in name for name in moved)


@pytest.mark.parametrize("listener", [CtrlC(1, 1), Kill(1, 1)], ids=["ctrl-c", "kill"])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(base, labels, tmp_path, listener):
    settings = small_settings(lora=LoraSettings(r=2, dropout=0.2), learning_rate=1e-2)
    assert run(base, labels, tmp_path / "whole", settings)
    with suppress(MemoryError):
        assert not run(base, labels, tmp_path / "parts", settings, listener)
    assert TeacherRun.settings_in(RunFolder(tmp_path / "parts")) == settings
    assert run(base, labels, tmp_path / "parts", settings, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_gradients_of_several_batches_make_one_step(base, labels, tmp_path):
    settings = small_settings(lora=None, epochs=1, accumulate=2, gradient_checkpointing=True)
    assert run(base, labels, tmp_path / "run", settings)
    assert read_state(tmp_path / "run" / "last.pt")["progress"]["step"] == 1


def test_a_diverging_run_stops_and_keeps_what_was_good(base, labels, tmp_path):
    assert run(base, labels, tmp_path / "run", small_settings(lora=None, epochs=1))
    good = weights_of(tmp_path / "run")
    settings = small_settings(lora=None, epochs=60, divergence_rise=0.2, divergence_patience_steps=2)
    wild = settings.model_copy(update={"learning_rate": 1.0, "warmup_share": 0.3})
    with pytest.raises(TrainingError, match=r"diverges since step \d+"):
        run(base, labels, tmp_path / "wild", wild)
    kept = read_state(tmp_path / "wild" / "last.pt")["weights"]
    assert kept.keys() == good.keys()
    assert all(torch.isfinite(weight).all() for weight in kept.values())


def test_the_watch_says_when_it_began():
    watch = DivergenceWatch(rise=1.0, patience=3)
    calm = [watch.see("detection", step, 2.0) for step in range(10)]
    rising = [watch.see("detection", step, 40.0) for step in range(10, 14)]
    assert calm == [None] * 10
    assert rising == [None, None, 10, 10]
    other = DivergenceWatch(rise=1.0, patience=3)
    other.restore(watch.state())
    assert other.see("detection", 14, 40.0) == 10
    assert other.see("grounding", 15, 90.0) is None
    assert other.see("grounding", 16, float("nan")) == 16


def test_the_watch_forgives_a_spike():
    watch = DivergenceWatch(rise=1.0, patience=5)
    losses = [2.0] * 5 + [20.0] + [1.0] * 30
    assert all(watch.see("detection", step, loss) is None for step, loss in enumerate(losses))
    assert not watch.is_rising


def test_a_corrupt_image_is_left_out_and_the_rest_goes_on(base, tmp_path):
    labels = small_set(tmp_path / "set")
    (labels.root / labels.images[0].file_name).write_bytes(b"no image")
    assert run(base, labels, tmp_path / "run", small_settings(epochs=1))
    row = json.loads((tmp_path / "run" / "history.jsonl").read_text())
    assert row["unreadable"] == 1


def test_what_does_not_fit_is_refused_on_resuming(base, other_base, labels, tmp_path):
    settings = small_settings(epochs=1)
    assert run(base, labels, tmp_path / "run", settings)
    with pytest.raises(ConfigError, match="other settings"):
        run(base, labels, tmp_path / "run", small_settings(epochs=2), resume=True)
    with pytest.raises(CheckpointError, match="another model"):
        run(other_base, labels, tmp_path / "run", settings, resume=True)
    fewer = replace(labels, images=labels.images[1:])
    with pytest.raises(DatasetError, match="not those"):
        run(base, fewer, tmp_path / "run", settings, resume=True)
    (tmp_path / "run" / "last.pt").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="damaged"):
        run(base, labels, tmp_path / "run", settings, resume=True)


def test_a_set_without_a_split_or_examples_is_refused(base, labels, tmp_path):
    unsplit = replace(labels, images=tuple(replace(image, split=None) for image in labels.images))
    with pytest.raises(DatasetError, match="no images in the split 'train'"):
        run(base, unsplit, tmp_path / "a")
    clean = replace(labels, images=tuple(replace(image, regions=()) for image in labels.images))
    with pytest.raises(DatasetError, match="no example for segmentation"):
        run(base, clean, tmp_path / "b", small_settings(tasks=("segmentation",)))
