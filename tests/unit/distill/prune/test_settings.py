"""What `prune` may be asked for, and the recipe that a recovery gets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from distill.checkpoint import Checkpoint
from distill.prune.folder import PruneFolder
from distill.prune.plan import PlanOptions
from distill.prune.recover import recovery_recipe, stage_of
from distill.prune.settings import STEPS_TO_A_DROP, kept_settings, new_settings
from distill.settings.distillation import Distillation, TeacherRecipe
from distill.settings.structure import YOLOV5_ANCHORS, DetectorStructure
from distill.settings.tables import Rehearsal, Sparsity
from edge.core.contract import NoEnhancement
from edge.core.errors import CheckpointError, ConfigError
from tests.unit.distill.tiny import tiny_contract, tiny_recipe


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param({}, "exactly one of --macs", id="no-target"),
        pytest.param({"macs": 0.5, "drop": 1.0}, "exactly one of --macs", id="two-targets"),
        pytest.param({"macs": 0.0}, "macs = 0.0", id="nothing-left"),
        pytest.param({"macs": 1.0}, "macs = 1.0", id="nothing-cut"),
        pytest.param({"macs": float("nan")}, "macs = nan", id="not-a-number"),
        pytest.param({"latency_ms": 5.0, "runtime": "abacus"}, "runtime = 'abacus'", id="no-such-runtime"),
        pytest.param({"macs": 0.5, "recover": "teacher"}, "--teacher", id="no-teacher"),
        pytest.param(
            {"macs": 0.5, "recover": "self", "teacher": "best.pt"}, "--recover teacher", id="idle-teacher"
        ),
        pytest.param({"plan": "plan.json", "steps": 2}, "--steps", id="plan-in-steps"),
        pytest.param({"macs": 0.5, "steps": 0}, "steps = 0", id="no-steps"),
        pytest.param({"macs": 0.5, "options": {"round_to": 7}}, "options.round_to = 7", id="rounding"),
    ],
)
def test_what_cannot_be_asked_for_is_said_in_one_line(given, said):
    with pytest.raises(ConfigError) as caught:
        new_settings(given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_teacher_that_is_named_is_recovered_under():
    assert new_settings({"macs": 0.5, "teacher": "best.pt"}).recover == "teacher"
    assert new_settings({"macs": 0.5}).recover is None


def test_all_that_is_left_open_is_compared_the_defaults_first():
    everything = new_settings({"macs": 0.5}).choices()
    assert len(everything) == len(set(map(str, everything))) == 16
    assert everything[0] == ("depgraph", PlanOptions(importance="l1", scope="global", round_to=16))
    named = {"planner": "threshold", "options": {"scope": "local", "round_to": 8}}
    assert new_settings({"macs": 0.5, **named}).choices() == tuple(
        ("threshold", PlanOptions(importance=importance, scope="local", round_to=8))
        for importance in ("l1", "bn-scale")
    )
    assert new_settings({"latency_ms": 5.0}).choices() == everything[:1]


def test_steps_are_one_but_for_a_drop():
    assert new_settings({"macs": 0.5}).most_steps == 1
    assert new_settings({"drop": 0.5}).most_steps == STEPS_TO_A_DROP
    assert new_settings({"drop": 0.5, "steps": 3}).most_steps == 3


def test_a_resumed_run_keeps_its_settings(tmp_path):
    folder = PruneFolder(tmp_path)
    with pytest.raises(CheckpointError, match="no pruning"):
        kept_settings(folder, {})
    settings = new_settings({"macs": 0.5, "options": {"round_to": 16}})
    folder.write_json(folder.settings, settings.model_dump(mode="json"))
    assert kept_settings(folder, {}) == settings
    assert kept_settings(folder, {"macs": 0.5, "options": {"round_to": 16}}) == settings
    for changed in ({"macs": 0.4}, {"steps": 2}, {"options": {"round_to": 8}}):
        with pytest.raises(ConfigError, match="keeps its settings"):
            kept_settings(folder, changed)
    folder.settings.write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        kept_settings(folder, {})


def checkpoint(recipe=None, structure=None, **contract):
    structure = structure or DetectorStructure(scale="p", channels=1, classes=3)
    kept = recipe.model_dump(mode="json") if recipe else {}
    return Checkpoint(structure, {}, tiny_contract().model_copy(update=contract), kept)


def test_a_recovery_is_a_shorter_training_by_the_own_recipe():
    own = tiny_recipe(
        epochs=30,
        warmup_epochs=3.0,
        seed=5,
        sparsity=Sparsity(),
        teacher=TeacherRecipe(),
        rehearsal=Rehearsal(),
    )
    recipe = recovery_recipe(checkpoint(own), new_settings({"macs": 0.5}), {})
    assert (recipe.epochs, recipe.warmup_epochs, recipe.seed) == (10, 1.0, 5)
    assert recipe.sparsity is None
    assert recipe.teacher is None
    assert recipe.rehearsal == Rehearsal()
    assert recipe.distillation == Distillation()


@pytest.mark.parametrize(("steps", "epochs"), [(1, 10), (2, 5), (4, 3), (10, 3)])
def test_steps_share_a_third_of_the_epochs_a_twelfth_each_at_least(steps, epochs):
    settings = new_settings({"macs": 0.5, "steps": steps})
    assert recovery_recipe(checkpoint(tiny_recipe(epochs=30)), settings, {}).epochs == epochs


def test_labels_alone_need_no_distillation_and_the_own_settings_of_one_are_kept():
    own = tiny_recipe(distillation=Distillation(instances=3))
    labels = recovery_recipe(checkpoint(own), new_settings({"macs": 0.5, "recover": "labels"}), {})
    assert labels.distillation is None
    itself = recovery_recipe(checkpoint(own), new_settings({"macs": 0.5}), {})
    assert itself.distillation == Distillation(instances=3)


def test_a_named_recipe_says_how_to_train_and_the_checkpoint_what(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('scale = "l"\nepochs = 7\nlearning_rate = 5e-4\ncolour_order = "rgb"\n[sparsity]\n')
    structure = DetectorStructure(
        scale="n", channels=1, classes=3, family="yolov5-coupled", anchors=YOLOV5_ANCHORS
    )
    source = checkpoint(structure=structure, enhancement=NoEnhancement())
    recipe = recovery_recipe(source, new_settings({"macs": 0.5, "recipe": str(file), "seed": 9}), {})
    assert (recipe.epochs, recipe.learning_rate, recipe.seed) == (7, 5e-4, 9)
    assert (recipe.scale, recipe.head, recipe.anchors) == ("n", "coupled", YOLOV5_ANCHORS)
    assert (recipe.colour_order, recipe.enhancement) == ("grey", NoEnhancement())
    assert recipe.sparsity == Sparsity()


def test_a_recipe_that_does_not_suit_the_checkpoint_is_one_line(tmp_path):
    file = tmp_path / "turns.toml"
    file.write_text("[augmentation]\nquarter_turn_share = 0.5\n")
    source = checkpoint(input_size_hw_px=(64, 128))
    with pytest.raises(ConfigError, match="square"):
        recovery_recipe(source, new_settings({"macs": 0.5, "recipe": str(file)}), {})
    broken = replace(checkpoint(), recipe={"scale": "xxl"})
    with pytest.raises(ConfigError, match="--recipe"):
        recovery_recipe(broken, new_settings({"macs": 0.5}), {})


def test_who_teaches_a_recovery(tmp_path):
    folder, source = PruneFolder(tmp_path), tmp_path / "best.pt"
    settings = {
        name: new_settings({"macs": 0.5, "recover": name, **more})
        for name, more in (("labels", {}), ("self", {}), ("teacher", {"teacher": "big.pt"}))
    }
    stages = {
        name: stage_of(one, tiny_recipe(), checkpoint(), source, folder, 2)
        for name, one in settings.items()
    }
    assert stages["labels"].teacher is None
    assert stages["self"].teacher == source
    assert str(stages["teacher"].teacher) == "big.pt"
    for stage in stages.values():
        assert stage.start_from == folder.cut(2)
        assert stage.contract == tiny_contract()
        assert stage.name == "recovered-2"
