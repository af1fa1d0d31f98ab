"""Which plan is taken, what a cut begins with, and what it recovers under and with."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import distill.evaluation.scorecard
import distill.prune.candidates
import distill.prune.steps
import distill.training.finish
from distill.checkpoint import load_detector, read_checkpoint
from distill.data.tiles import ground_truth_batches
from distill.prune.apply import cut
from distill.prune.candidates import best_plan, samples_of
from distill.prune.folder import PruneFolder
from distill.prune.norms import with_norms_measured
from distill.prune.plan import read_plan
from distill.prune.planning import macs_of, plans_of_step
from distill.prune.settings import new_settings
from distill.settings.distillation import Distillation
from distill.settings.tables import Rehearsal
from edge.core.errors import TrainingError
from edge.dataset.options import DatasetOptions
from tests.unit.distill.prune.pruning import invoke, write_source
from tests.unit.distill.prune.test_steps import ONE_WAY, TIMES
from tests.unit.distill.tiny import (
    tiny_contract,
    tiny_dataset,
    tiny_recipe,
    write_tiny_dataset,
    write_untrained,
)

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(distill.evaluation.scorecard, "LATENCY_RUNS", 2)
    monkeypatch.setattr(distill.training.finish, "write_run_page", lambda *_: None)
    monkeypatch.setattr(distill.prune.steps, "time_stages", lambda *_: TIMES)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("candidates")
    write_tiny_dataset(place / "data", train=6, val=2)
    write_source(place / "best.pt")
    write_untrained(place / "teacher.pt")
    return place


@pytest.fixture(scope="module")
def detector(place):
    return load_detector(place / "best.pt")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    data = tiny_dataset(tmp_path_factory.mktemp("samples") / "data", train=6, val=2)
    return samples_of(data, tiny_recipe(), tiny_contract())


def norms_of(module):
    return [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]


def test_norms_are_those_of_the_images_whatever_they_were(place, detector, samples):
    wrecked = load_detector(place / "best.pt").module
    for norm in norms_of(wrecked):
        norm.running_mean += 3
        norm.running_var *= 7
    once, again = (
        with_norms_measured(module, samples.norms, detector.contract, CPU)
        for module in (detector.module, wrecked)
    )
    for ours, theirs in zip(norms_of(once), norms_of(again), strict=True):
        torch.testing.assert_close(ours.running_mean, theirs.running_mean)
        torch.testing.assert_close(ours.running_var, theirs.running_var)
        assert ours.momentum == norms_of(detector.module)[0].momentum
    first = norms_of(once)[0]
    batches = [
        torch.from_numpy(images.copy())
        for images, _ in ground_truth_batches(samples.norms, detector.contract, 16)
    ]
    with torch.inference_mode():
        said = [once.model[0].conv(images).mean(dim=(0, 2, 3)) for images in batches]
    torch.testing.assert_close(first.running_mean, torch.stack(said).mean(dim=0), rtol=1e-4, atol=1e-6)


def test_a_large_data_set_is_looked_at_in_part_with_defects_and_without(tmp_path, monkeypatch):
    data = tiny_dataset(tmp_path / "data", train=8, val=8)
    monkeypatch.setattr(distill.prune.candidates, "NORM_IMAGES", 4)
    monkeypatch.setattr(distill.prune.candidates, "SCORE_TILES", 6)
    few = samples_of(data, tiny_recipe(), tiny_contract())
    assert [image.path.name for image in few.norms.images] == ["000.png", "002.png", "004.png", "006.png"]
    assert len(few.scores.images) == 8
    kinds = [tile.is_empty for tile in few.scores.tiles]
    assert 2 <= kinds.count(False) <= 3
    assert 2 <= kinds.count(True) <= 3


def test_the_plan_that_scores_best_right_after_its_cut_is_taken(detector, samples, tmp_path, monkeypatch):
    """Scores as a long training would give them; all else is real."""
    settings = new_settings({"macs": 0.6, "planner": "threshold"})
    plans = plans_of_step(
        detector, settings, tmp_path / "table.json", source_macs=macs_of(detector), steps_left=1
    )
    assert len(plans) > 2
    script = iter([0.1, 0.3, 0.2, *[0.3] * len(plans)])
    looked_at = []

    def scored(module, *_):
        looked_at.append(sum(p.numel() for p in module.parameters()))
        value = next(script)
        return SimpleNamespace(map50=value, map50_95=value, fitness=value)

    monkeypatch.setattr(distill.prune.candidates, "validate", scored)
    best, rows = best_plan(detector, plans, samples, CPU)
    different = list(dict.fromkeys(str(plan.kept) for plan in plans))
    assert len(rows) == len(different) == len(looked_at)
    assert str(best.kept) == different[1]
    assert rows[1].options == best.options
    module, _ = cut(detector.module, detector.checkpoint.structure, best)
    assert looked_at[1] == sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module")
def compared(place):
    """Prune with two things left open; what was compared stands in the folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distill.evaluation.scorecard, "LATENCY_RUNS", 2)
        patch.setattr(distill.training.finish, "write_run_page", lambda *_: None)
        patch.setattr(distill.prune.steps, "time_stages", lambda *_: TIMES)
        said = invoke(
            place / "best.pt", place / "data", "--macs", 0.6, "--planner", "threshold", "--scope", "global",
            "--epochs", 1, "--recover", "labels", "--out", place / "compared",
        )  # fmt: skip
    assert said.exit_code == 0, said.output
    return PruneFolder(place / "compared")


def test_all_that_was_left_open_is_compared_and_the_best_is_recovered(compared):
    rows = json.loads(compared.candidates(1).read_text())
    assert {row["planner"] for row in rows} == {"threshold"}
    assert {row["options"]["importance"] for row in rows} == {"l1", "bn-scale"}
    best = max(rows, key=lambda row: (row["map50"] + row["map50_95"]) / 2)
    plan = read_plan(compared.plan(1))
    assert plan.options.model_dump() == best["options"]
    assert plan.macs == macs_of(load_detector(compared.best))


def test_a_recovery_begins_with_the_norms_of_the_cut_detector(place, compared):
    """The weights are those of the uncut one; the statistics are not."""
    whole, made = load_detector(place / "best.pt"), read_checkpoint(compared.cut(1)).weights
    module, _ = cut(whole.module, whole.checkpoint.structure, read_plan(compared.plan(1)))
    plain = module.state_dict()
    running = {name for name in plain if "running_" in name or name.endswith("num_batches_tracked")}
    assert all(torch.equal(plain[name], made[name]) for name in set(plain) - running)
    assert not any(torch.equal(plain[name], made[name]) for name in running if "running_mean" in name)


def run_of(root, teacher, **more):
    """Lay out the run that a checkpoint would be of: trained under a teacher, with another in its place."""
    (root / "teacher").mkdir(parents=True)
    shutil.copy(teacher, root / "teacher" / "best.pt")
    stages = {"teacher": "train", "student_alone": False, "start_from": None}
    (root / "stages.json").write_text(json.dumps(stages))
    recipe = tiny_recipe(epochs=1, distillation=Distillation(least_teacher_map50=0), **more)
    return write_source(root / "best.pt", recipe=recipe)


def test_the_teacher_that_a_checkpoint_had_teaches_its_recovery(place, tmp_path):
    checkpoint = run_of(tmp_path / "run", place / "teacher.pt")
    said = invoke(checkpoint, place / "data", "--macs", 0.6, *ONE_WAY, "--out", tmp_path / "half")
    assert said.exit_code == 0, (said.output, said.exception)
    folder = PruneFolder(tmp_path / "half")
    kept = json.loads(folder.settings.read_text())
    assert kept["recover"] == "teacher"
    assert kept["teacher"] == str(tmp_path / "run" / "teacher" / "best.pt")
    assert "loss_gid_feature" in folder.step(1).read_history()[0]


@pytest.mark.parametrize(
    ("stages", "warned"),
    [
        pytest.param({"teacher": None, "student_alone": False}, False, id="it-had-none"),
        pytest.param({"teacher": "gone.pt", "student_alone": False}, False, id="it-is-gone"),
        pytest.param({"teacher": "x" * 5000, "student_alone": False}, False, id="no-name-of-a-file"),
        pytest.param({"teacher": "train", "student_alone": False}, True, id="it-cannot-be-read"),
        pytest.param([], True, id="damaged-record"),
    ],
)
def test_without_a_teacher_at_hand_the_detector_teaches_itself(place, tmp_path, caplog, stages, warned):
    from distill.prune.teacher_at_hand import with_teacher_at_hand

    checkpoint = run_of(tmp_path / "run", place / "teacher.pt")
    (tmp_path / "run" / "teacher" / "best.pt").write_bytes(b"PK")
    (tmp_path / "run" / "stages.json").write_text(json.dumps(stages))
    settings = with_teacher_at_hand(new_settings({"macs": 0.5}), checkpoint, tiny_contract())
    assert (settings.recover, settings.teacher) == ("self", None)
    assert bool([one for one in caplog.records if one.levelname == "WARNING"]) == warned


def test_a_teacher_that_has_learnt_nothing_is_refused_before_anything_recovers(place, tmp_path):
    out = tmp_path / "half"
    given = ("--macs", 0.6, *ONE_WAY, "--teacher", place / "teacher.pt", "--out", out)
    error = invoke(place / "best.pt", place / "data", *given).exception
    assert isinstance(error, TrainingError)
    assert "learnt next to nothing" in str(error)
    assert not (out / "step-1").exists()


def test_a_recovery_keeps_the_rehearsal_of_the_recipe(place, tmp_path, monkeypatch):
    simulation = DatasetOptions(images=4, size_hw=(128, 128), split={"train": 0.75, "val": 0.25})
    recipe = tiny_recipe(epochs=1, rehearsal=Rehearsal(repeats=2, simulation=simulation))
    checkpoint = write_source(tmp_path / "best.pt", recipe=recipe)
    seen = []
    run_stage = distill.prune.steps.run_stage
    monkeypatch.setattr(
        distill.prune.steps,
        "run_stage",
        lambda stage, data, *rest: seen.append(data) or run_stage(stage, data, *rest),
    )
    given = ("--macs", 0.6, *ONE_WAY, "--recover", "labels", "--out", tmp_path / "half")
    said = invoke(checkpoint, place / "data", *given)
    assert said.exit_code == 0, (said.output, said.exception)
    (data,) = seen
    assert sum(image.path.is_relative_to(tmp_path / "half" / "rehearsal") for image in data.train) == 3
    assert len(data.train) == 2 * 6 + 3
    assert not any(image.path.is_relative_to(tmp_path) for image in data.val)
