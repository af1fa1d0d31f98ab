"""The command: teacher, student alone, student under the teacher; stopped, resumed, and given nonsense."""

from __future__ import annotations

import json
import signal

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import distill.evaluation.scorecard
import distill.training.stages
from distill.checkpoint import read_checkpoint
from distill.commands.distill_cli import app
from distill.core.progress import ConsoleListener
from distill.core.run_folder import RunFolder
from distill.evaluation.scorecard import SCORECARD_NAME, ScorecardRow, append_row, read_rows
from distill.settings.recipe import load_recipe
from distill.training.instance_images import COLOURS, GROUND_TRUTH, TEACHERS, drawn_tile, sheet
from edge.core.errors import CheckpointError, ConfigError, TrainingError
from edge.core.files import file_digest
from tests.unit.distill.tiny import write_tiny_dataset, write_untrained

PLAIN = """
scale = "p"
input_size_hw_px = [64, 64]
overlap_px = 8
epochs = 2
batch = 8
precision = "float32"
ema_warmup_steps = 5
cache_mb = 16
"""
GIVEN = (
    PLAIN
    + """
[distillation]
least_teacher_map50 = 0
"""
)
TAUGHT = (
    PLAIN
    + """
[distillation]
warmup_epochs = 0.5
relation_scope = "batch"
picture_epochs = [1]
least_teacher_map50 = 0

[teacher]
scale = "p"
epochs = 1
"""
)


@pytest.fixture(autouse=True, scope="module")
def _few_timings():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distill.evaluation.scorecard, "LATENCY_RUNS", 2)
        yield


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("stages")
    write_tiny_dataset(root / "data", train=6, val=4)
    (root / "plain.toml").write_text(PLAIN)
    (root / "given.toml").write_text(GIVEN)
    (root / "taught.toml").write_text(TAUGHT)
    write_untrained(root / "teacher.pt")
    return root


def command(place, out, *more, recipe="taught.toml"):
    return invoke(place / "data", "--recipe", place / recipe, "--out", out, *more)


@pytest.fixture(scope="module")
def whole(place):
    done = command(place, place / "whole", "--student-alone")
    assert done.exit_code == 0, (done.output, done.exception)
    return place / "whole", done


def without_times(folder):
    rows = RunFolder(folder).read_history()
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_a_distillation_trains_three_detectors_and_compares_them(whole):
    out, done = whole
    rows = read_rows(out / SCORECARD_NAME)
    assert [row.stage for row in rows] == ["teacher", "student-alone", "distilled"]
    for name in ("teacher", "student-alone", "distilled"):
        assert name in done.stdout
    assert "distillation bought  mAP50" in done.stdout
    assert json.loads((out / "stages.json").read_text()) == {
        "teacher": "train", "student_alone": True, "start_from": None,
    }  # fmt: skip
    assert len(RunFolder(out / "teacher").read_history()) == 1


def test_every_term_is_logged_each_epoch_and_each_step(whole):
    out, _ = whole
    history = RunFolder(out).read_history()
    steps = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
    assert [row["step"] for row in steps] == list(range(history[-1]["steps"]))
    terms = ["gid_feature", "gid_relation", "gid_response_class", "gid_response_box"]
    for name in ("box", "class", "dfl", *terms):
        for row in history:
            own = [step[name] for step in steps if step["epoch"] == row["epoch"]]
            assert row[f"loss_{name}"] == pytest.approx(np.mean(own))
    assert steps[0]["gid_feature"] == 0.0
    assert all(any(step[name] > 0 for step in steps) for name in terms)
    assert not (out / "student-alone" / "steps.jsonl").exists()


def test_checkpoints_are_plain_detectors_and_say_how_they_were_made(whole):
    out, _ = whole
    taught, alone = read_checkpoint(out / "best.pt"), read_checkpoint(out / "student-alone" / "best.pt")
    assert set(taught.weights) == set(alone.weights)
    assert taught.training is None
    assert taught.recipe["distillation"]["method"] == "gid"
    assert alone.recipe["distillation"] is None
    last = read_checkpoint(out / "last.pt").training
    assert {name.split(".")[0] for name in last["beside"]} == {"levels"}


def test_images_show_the_instances(whole):
    out, _ = whole
    assert [file.name for file in (out / "instances").iterdir()] == ["epoch-001.png"]
    image = cv2.imread(str(out / "instances" / "epoch-001.png"))
    assert image.shape[1] >= 384
    assert (image == COLOURS[GROUND_TRUTH].bgr).all(axis=-1).any()


def test_images_tell_whose_box_it_is():
    boxes = {GROUND_TRUTH: np.zeros((0, 4), np.float32), TEACHERS: np.array([[8, 8, 40, 40]], np.float32)}
    image = drawn_tile(np.zeros((64, 64), np.uint8), boxes)
    assert image.shape == (384, 384, 3)
    assert image[8 * 6, 20 * 6].tolist() == list(COLOURS[TEACHERS].bgr)
    assert not (image == COLOURS[GROUND_TRUTH].bgr).all(axis=-1).any()
    assert sheet([image] * 4).shape == (2 * 390 + 26, 3 * 390 - 6, 3)


class KilledError(Exception):
    """As a kill: nothing is saved."""


def stopped_at(monkeypatch, wanted, how):
    """Stop in the middle of the wanted run of the command, counted from 0."""
    began = []

    class Stopper(ConsoleListener):
        def __enter__(self):
            began.append(self)
            return super().__enter__()

        def batch_done(self, epoch, done, total, loss):
            super().batch_done(epoch, done, total, loss)
            if len(began) - 1 == wanted and (epoch, done) == (self._epochs - 1, 1):
                how()

    monkeypatch.setattr(distill.training.stages, "ConsoleListener", Stopper)


def kill():
    raise KilledError


@pytest.mark.parametrize(
    ("stage", "how"),
    [(0, "kill"), (1, "ctrl-c"), (2, "kill")],
    ids=["teacher-killed", "student-alone-stopped", "distilled-killed"],
)
def test_a_distillation_goes_on_exactly_where_it_was_stopped(
    place, whole, tmp_path, monkeypatch, stage, how
):
    with monkeypatch.context() as patch:
        stopped_at(patch, stage, kill if how == "kill" else lambda: signal.raise_signal(signal.SIGINT))
        cut = command(place, tmp_path / "cut", "--student-alone")
    assert cut.exit_code == (130 if how == "ctrl-c" else 1)
    again = command(place, tmp_path / "cut", "--student-alone", "--resume")
    assert again.exit_code == 0, (again.output, again.exception)
    for run in (".", "teacher", "student-alone"):
        ours, theirs = tmp_path / "cut" / run, whole[0] / run
        assert without_times(ours) == without_times(theirs)
        found, expected = (read_checkpoint(folder / "last.pt").weights for folder in (ours, theirs))
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    steps = (tmp_path / "cut" / "steps.jsonl").read_text()
    assert steps == (whole[0] / "steps.jsonl").read_text()
    rows = read_rows(tmp_path / "cut" / SCORECARD_NAME)
    assert [row.stage for row in rows] == ["teacher", "student-alone", "distilled"]


def test_a_finished_distillation_is_printed_again_and_not_trained_again(place, whole):
    out, _ = whole
    before = (out / SCORECARD_NAME).read_bytes(), (out / "last.pt").read_bytes()
    again = invoke(place / "data", "--out", out, "--resume")
    assert again.exit_code == 0, (again.output, again.exception)
    assert "distillation bought" in again.stdout
    assert ((out / SCORECARD_NAME).read_bytes(), (out / "last.pt").read_bytes()) == before


def test_a_teacher_that_is_given_is_used_and_measured(place, tmp_path):
    out = tmp_path / "run"
    done = command(place, out, "--teacher", place / "teacher.pt", "--epochs", 1, recipe="given.toml")
    assert done.exit_code == 0, (done.output, done.exception)
    assert {row.stage for row in read_rows(out / SCORECARD_NAME)} == {"teacher", "distilled"}
    assert not (out / "teacher").exists()
    assert "loss_gid_feature" in RunFolder(out).read_history()[0]
    other = tmp_path / "other.pt"
    other.write_bytes((place / "teacher.pt").read_bytes() + b" ")
    stages = json.loads((out / "stages.json").read_text())
    (out / "stages.json").write_text(json.dumps({**stages, "teacher": str(other)}))
    (out / SCORECARD_NAME).unlink()
    changed = invoke(place / "data", "--out", out, "--resume")
    assert isinstance(changed.exception, CheckpointError)
    assert "another teacher" in str(changed.exception) or "damaged" in str(changed.exception)


@pytest.mark.parametrize("teacher", ["given", "trained"])
def test_a_teacher_that_has_learnt_nothing_ends_the_run_before_anything_is_trained_under_it(
    place, tmp_path, teacher
):
    """In one line, with its mAP50 and the way on; nor is the student alone trained."""
    out = tmp_path / "run"
    (tmp_path / "r.toml").write_text(TAUGHT.replace("least_teacher_map50 = 0\n", ""))
    more = ("--teacher", place / "teacher.pt") if teacher == "given" else ()
    done = invoke(place / "data", "--recipe", tmp_path / "r.toml", "--out", out, "--student-alone", *more)
    assert isinstance(done.exception, TrainingError), done.output
    rows = read_rows(out / SCORECARD_NAME)
    assert [row.stage for row in rows] == ["teacher"]
    assert f"mAP50 {rows[0].map50:.3f} on the validation split, 0.05 is required" in str(done.exception)
    assert "--teacher" in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not (out / "student-alone").exists()
    assert not (out / "last.pt").exists()


@pytest.mark.parametrize(("floor", "teaches"), [(0.25, True), (0.35, False)], ids=["above", "below"])
def test_the_floor_of_a_teacher_is_that_of_the_recipe(place, tmp_path, floor, teaches):
    """With the row that a teacher has which was trained for a night."""
    out, teacher = tmp_path / "run", place / "teacher.pt"
    row = ScorecardRow(
        stage="teacher",
        parameters=1,
        macs=1,
        file_size_bytes=1,
        map50=0.3,
        checkpoint_digest=file_digest(teacher),
    )
    out.mkdir()
    append_row(out / SCORECARD_NAME, row)
    text = GIVEN.replace("least_teacher_map50 = 0", f"least_teacher_map50 = {floor}")
    (tmp_path / "r.toml").write_text(text)
    given = ("--recipe", tmp_path / "r.toml", "--teacher", teacher, "--epochs", 1, "--out", out)
    done = invoke(place / "data", *given)
    assert isinstance(done.exception, TrainingError) != teaches, (done.output, done.exception)
    assert (out / "best.pt").is_file() == teaches


def test_the_baseline_runs_through_the_same_command(place, tmp_path):
    recipe = place / "baseline.toml"
    recipe.write_text(GIVEN.replace("epochs = 2", "epochs = 1") + 'method = "ultralytics"\n')
    done = command(place, tmp_path / "run", "--teacher", place / "teacher.pt", recipe="baseline.toml")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "loss_ultralytics" in RunFolder(tmp_path / "run").read_history()[0]
    assert not (tmp_path / "run" / "instances").exists()


@pytest.mark.parametrize(
    ("recipe", "more", "error", "said"),
    [
        pytest.param("plain.toml", ["--student-alone"], ConfigError, "--teacher", id="alone-of-nothing"),
        pytest.param("taught.toml", ["--teacher", "no.pt"], CheckpointError, "no.pt", id="no-teacher"),
        pytest.param("only-teacher.toml", [], ConfigError, "[distillation]", id="table-of-nothing"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(place, tmp_path, recipe, more, error, said):
    (place / "only-teacher.toml").write_text(PLAIN + '[teacher]\nscale = "p"\n')
    made = command(place, tmp_path / "run", *more, recipe=recipe)
    assert isinstance(made.exception, error)
    assert said in str(made.exception)
    assert "\n" not in str(made.exception)
    assert not (tmp_path / "run").exists()


def test_a_resumed_distillation_keeps_its_stages(place, whole):
    out, _ = whole
    changed = invoke(place / "data", "--out", out, "--resume", "--teacher", place / "teacher.pt")
    assert isinstance(changed.exception, ConfigError)
    assert "--teacher train --student-alone" in str(changed.exception)
    fresh = command(place, out)
    assert isinstance(fresh.exception, ConfigError)
    assert "--resume" in str(fresh.exception)


def test_a_damaged_plan_is_said(place, tmp_path):
    (tmp_path / "stages.json").write_text("{}")
    made = invoke(place / "data", "--out", tmp_path, "--resume")
    assert isinstance(made.exception, CheckpointError)
    (tmp_path / "stages.json").write_text('{"teacher": "train"}')
    made = invoke(place / "data", "--out", tmp_path, "--resume")
    assert isinstance(made.exception, CheckpointError)
    assert "recipe.json" in str(made.exception)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        pytest.param('method = "fgd"', "distillation.method", id="unknown-method"),
        pytest.param("feature = 1", "distillation.feature", id="unknown-key"),
        pytest.param("relation_weight = -1", "relation_weight", id="negative"),
        pytest.param("nms_iou = 0", "nms_iou", id="no-overlap"),
        pytest.param("picture_epochs = [0]", "picture_epochs", id="epoch-zero"),
        pytest.param('method = "ultralytics"\nultralytics_weight = 0', "no term", id="teaches-nothing"),
        pytest.param(
            "feature_weight = 0\nrelation_weight = 0\nresponse_class_weight = 0\nresponse_box_weight = 0",
            "no term",
            id="all-off",
        ),
    ],
)
def test_bad_settings_of_a_distillation_are_one_line(tmp_path, table, said):
    (tmp_path / "bad.toml").write_text(f"[distillation]\n{table}\n")
    with pytest.raises(ConfigError, match=said) as caught:
        load_recipe(str(tmp_path / "bad.toml"), {}, {})
    assert "\n" not in str(caught.value)


def test_the_teacher_is_trained_as_its_student_but_for_its_table(tmp_path):
    (tmp_path / "r.toml").write_text(TAUGHT)
    recipe = load_recipe(str(tmp_path / "r.toml"), {}, {"seed": 4})
    teacher = recipe.of_teacher()
    assert (teacher.scale, teacher.epochs, teacher.batch, teacher.seed) == ("p", 1, 8, 4)
    assert teacher.distillation is None
    assert load_recipe("smoke", {}, {}).of_teacher().scale == "l"


@pytest.mark.parametrize(
    ("cloth", "is_limited"), [("auto", True), ("all", False)], ids=["by-default", "switched-off"]
)
def test_training_keeps_instances_to_cloth(place, tmp_path, cloth, is_limited):
    """The left of every image shows the bare bed: the command itself has to find that out."""
    data = write_tiny_dataset(tmp_path / "data", train=6, val=4)
    for file in data.glob("images/*/*.png"):
        image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        grain = np.random.default_rng(0).normal(0, 25, image.shape)  # a weave that the cloth finder sees
        image = np.clip(image + grain, 0, 255).astype(np.uint8)
        image[:, :88] = 128
        assert cv2.imwrite(str(file), image)
    (tmp_path / "taught.toml").write_text(
        TAUGHT.replace("[distillation]", f'[distillation]\ncloth = "{cloth}"')
    )
    given = ("--recipe", tmp_path / "taught.toml", "--teacher", place / "teacher.pt")
    done = invoke(data, *given, "--out", tmp_path / "run")
    assert done.exit_code == 0, (done.output, done.exception)
    steps = [json.loads(line) for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()]
    if is_limited:
        assert all(0 < step["cloth_ratio"] <= 1 for step in steps)
        assert min(step["cloth_ratio"] for step in steps) < 1
    else:
        assert all("cloth_ratio" not in step for step in steps)
