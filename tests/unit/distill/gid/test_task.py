"""A batch as a whole: who learns, who does not, what stops it. Planted bugs must be noticed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from distill.checkpoint import Checkpoint, load_detector, write_checkpoint
from distill.core.precision import choose_precision
from distill.core.run_folder import RunFolder
from distill.data.tiles import TilePlan, TrainingTiles, batches, showings
from distill.detector.build import DetectionTask, build_module
from distill.gid.batch_outputs import BatchOutputs, check_alike
from distill.gid.instances import find_instances, inside_instances, least_side_px
from distill.gid.response import box_loss
from distill.gid.task import DistillationTask
from distill.gid.teacher import load_teacher
from distill.gid.term import Heads, Seen
from distill.gid.terms import METHODS, Terms
from distill.settings.distillation import Distillation
from distill.settings.structure import DetectorStructure
from distill.settings.tables import Augmentation
from distill.training.train import _step
from distill.training.training_run import prepare_run
from edge.core.contract import Clahe, NoEnhancement
from edge.core.errors import CheckpointError, ConfigError, TrainingError
from tests.unit.distill.gid.heads import SIZE_PX, random_mask, random_outputs, small_detector
from tests.unit.distill.tiny import tiny_contract, tiny_dataset, tiny_recipe, untrained_checkpoint

CPU = torch.device("cpu")
FLOAT32 = choose_precision("float32", CPU)
EVERYTHING = Distillation(warmup_epochs=0, relation_scope="batch")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("tiny") / "data")


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("teacher") / "best.pt"
    write_checkpoint(path, untrained_checkpoint())
    return path


@pytest.fixture(scope="module")
def batch(data):
    plan = TilePlan(data.train, tiny_contract(), 0.2, cache_mb=8)
    tiles = TrainingTiles(
        plan, showings(plan.epoch_order(0, 0, 0.0)[:4]), tiny_contract(), Augmentation(), (0, 0), (0, 1, 2)
    )
    return next(iter(batches(tiles, 4, 0)))


def task_under(settings, *, student=None, teacher=None, fraction=lambda: 1.0):
    student = student or small_detector(0).train()
    return DistillationTask(
        DetectionTask(student, FLOAT32),
        student,
        teacher or load_like(small_detector(1)),
        settings,
        FLOAT32,
        input_shape=(1, SIZE_PX, SIZE_PX),
        mm_per_px=0.2,
        fraction=fraction,
    )


def load_like(module):
    return module.eval().requires_grad_(False)


def run_under(teacher_file, data, path, **changes):
    recipe = tiny_recipe(distillation=EVERYTHING, **changes)
    teacher = load_teacher(teacher_file, tiny_contract(recipe))
    return prepare_run(
        data, tiny_contract(recipe), recipe, RunFolder(path), CPU, (0, 1, 2), teacher
    ), teacher


@pytest.mark.parametrize("mask", ["foreground", "instances"])
@pytest.mark.parametrize("box_loss", ["giou", "ciou", "kl"])
def test_every_term_is_named_and_learnt(batch, mask, box_loss):
    settings = EVERYTHING.model_copy(update={"response_mask": mask, "box_loss": box_loss})
    student, teacher = small_detector(0).train(), load_like(small_detector(1, "n"))
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    task = task_under(settings, student=student, teacher=teacher)
    parts = task.loss_parts(*batch)
    terms = [name for name in parts if name.startswith("gid_")]
    assert list(parts)[:3] == ["box", "class", "dfl"]
    assert terms == ["gid_feature", "gid_relation", "gid_response_class", "gid_response_box"]
    assert all(parts[name] > 0 for name in terms)
    sum(parts[name] for name in terms).backward()
    neck = [p for layer in student.model[:-1] for p in layer.parameters()]
    assert all(parameter.grad is not None for parameter in neck)
    assert all(parameter.grad.abs().sum() > 0 for parameter in task.adapters.parameters())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not teacher.training
    assert all(torch.equal(teacher.state_dict()[name], before[name]) for name in before)


def test_a_weight_of_zero_switches_a_term_off(batch):
    for name in ("feature", "relation", "response_class", "response_box"):
        settings = EVERYTHING.model_copy(update={f"{name}_weight": 0.0})
        parts = task_under(settings).loss_parts(*batch)
        assert {part for part in parts if part.startswith("gid_")} == {
            f"gid_{one}" for one in ("feature", "relation", "response_class", "response_box") if one != name
        }


def test_weights_and_schedule_scale_the_terms(batch):
    plain = task_under(EVERYTHING).loss_parts(*batch)
    double = EVERYTHING.model_copy(update={"feature_weight": 2 * EVERYTHING.feature_weight})
    torch.manual_seed(0)
    student = small_detector(0).train()
    scaled = task_under(double, student=student, fraction=lambda: 0.25).loss_parts(*batch)
    assert scaled["gid_relation"].item() == pytest.approx(0.25 * plain["gid_relation"].item(), rel=1e-4)
    response = scaled["gid_response_class"].item()
    assert response == pytest.approx(0.25 * plain["gid_response_class"].item(), rel=1e-4)
    assert scaled["box"].item() == pytest.approx(plain["box"].item(), rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_every_weight_in_the_settings_belongs_to_a_term(method):
    """Each alone switches its terms on; with none of them the settings are refused."""
    keys = [key for key in Distillation.model_fields if key.endswith("_weight")]
    own = [key for key in keys if (key == "ultralytics_weight") == (method == "ultralytics")]
    off = dict.fromkeys(own, 0.0)
    for key in own:
        Distillation(method=method, **off | {key: 3.0})
        assert any(term.weight == key for term in METHODS[method])
    with pytest.raises(ValueError, match=f"no term of the method {method}"):
        Distillation(method=method, **off)


def test_the_baseline_has_its_own_term_and_projectors(batch):
    task = task_under(Distillation(method="ultralytics", warmup_epochs=0))
    parts = task.loss_parts(*batch)
    assert list(parts) == ["box", "class", "dfl", "ultralytics"]
    parts["ultralytics"].backward()
    assert all(parameter.grad is not None for parameter in task.adapters.parameters())
    assert task.instances_of(small_detector(0).eval(), batch[0]) is None


def still(run):
    """Take a step and return the names of what did not move beside the detector."""
    before = {name: p.clone() for name, p in run.task._terms.adapters.named_parameters()}
    made = torch.Generator().manual_seed(0)
    images = torch.rand(4, 1, 64, 64, generator=made)
    targets = {
        "batch_idx": torch.arange(4.0), "cls": torch.ones(4, 1), "weights": torch.ones(4),
        "bboxes": torch.tensor([[0.5, 0.5, 0.3, 0.3]]).repeat(4, 1),
    }  # fmt: skip
    run.module.train()
    _step(run, images, targets, 0.0)
    after = dict(run.task._terms.adapters.named_parameters())
    return [name for name, p in before.items() if torch.equal(p, after[name])]


def test_adapters_are_trained_and_belong_to_the_training_state(teacher_file, data, tmp_path):
    run, _ = run_under(teacher_file, data, tmp_path)
    optimized = {id(p) for group in run.optimizer.param_groups for p in group["params"]}
    assert {id(p) for p in run.task.adapters.parameters()} <= optimized
    assert {id(p) for p in run.module.parameters() if p.requires_grad} <= optimized
    assert still(run) == []
    names = {name for name in run.average.ema.state_dict() if "levels" in name or "adapter" in name}
    assert names == set()


def test_adapters_that_are_not_trained_are_noticed(teacher_file, data, tmp_path, monkeypatch):
    monkeypatch.setattr(DistillationTask, "adapters", property(lambda self: nn.ModuleList()))
    run, _ = run_under(teacher_file, data, tmp_path)
    assert len(still(run)) == 6


def pushed_outside(terms, settings):
    """Return how many places outside the chosen ones the class term pushes."""
    student, teacher = random_outputs(1, grad=True), random_outputs(2, "teacher")
    foreground, size = random_mask(3), (SIZE_PX, SIZE_PX)
    outputs = BatchOutputs(student, teacher, foreground, size)
    terms.of(outputs)["gid_response_class"].backward()
    chosen = foreground
    if settings.response_mask == "instances":
        found = find_instances(outputs, settings, least_side_px(settings, 0.2))
        chosen = inside_instances(found, student.points_xy_px, student.strides_px, 3)
    return int(((student.class_logits.grad.abs().sum(-1) > 0) & ~chosen).sum())


@pytest.mark.parametrize("mask", ["foreground", "instances"])
def test_an_inverted_mask_is_noticed(mask, monkeypatch):
    settings = EVERYTHING.model_copy(update={"response_mask": mask, "instances": 3})
    shapes = random_outputs(1), random_outputs(2, "teacher")
    terms = Terms(Heads(settings, FLOAT32, *shapes, 0.2))
    assert pushed_outside(terms, settings) == 0
    right = Seen.mask.func
    monkeypatch.setattr(Seen, "mask", property(lambda self: ~right(self)))
    assert pushed_outside(terms, settings) > 0


def test_a_student_that_is_its_teacher_has_nothing_to_learn_but_the_adapter(batch):
    module = small_detector(0)
    task = task_under(EVERYTHING, student=module, teacher=load_like(small_detector(0)))
    assert len(task.instances_of(module.eval(), batch[0])) == 0


@pytest.mark.parametrize("is_cloth", [True, False], ids=["cloth", "machine-bed"])
def test_instances_are_limited_to_cloth(batch, is_cloth):
    student = small_detector(0).eval()
    task, cloth = (
        task_under(EVERYTHING, student=student),
        torch.full((len(batch[0]), 2, 2), float(is_cloth)),
    )
    found = task.instances_of(student, batch[0], cloth)
    everywhere = task.instances_of(student, batch[0])
    assert len(everywhere) > 0
    assert len(found) == (len(everywhere) if is_cloth else 0)


def test_off_the_cloth_nothing_is_learnt_of_instances(batch):
    images, targets = batch
    terms = {
        fraction: task_under(EVERYTHING).loss_parts(
            images, {**targets, "cloth": torch.full((4, 3, 3), fraction)}
        )
        for fraction in (0.0, 1.0)
    }
    assert terms[0.0]["gid_feature"] == 0 < terms[1.0]["gid_feature"]
    assert terms[0.0]["class"] == terms[1.0]["class"] > 0


def test_the_least_size_follows_the_scale():
    settings = Distillation(min_size_mm=0.6)
    assert least_side_px(settings, 0.2) == pytest.approx(3.0)
    assert least_side_px(settings, 0.1) == pytest.approx(6.0)
    assert least_side_px(settings, None) == 1.0
    assert least_side_px(Distillation(min_size_mm=None), 0.2) == 1.0


@pytest.mark.parametrize(
    ("decay", "at", "fraction"),
    [
        pytest.param("constant", 0.0, 0.0, id="begins-at-nothing"),
        pytest.param("constant", 1.0, 0.5, id="rises"),
        pytest.param("constant", 12.0, 1.0, id="stays"),
        pytest.param("linear", 7.0, 0.6, id="linear-half-way"),
        pytest.param("cosine", 7.0, 0.6, id="cosine-half-way"),
        pytest.param("cosine", 4.5, 1 - 0.8 * 0.1464466, id="cosine-quarter"),
        pytest.param("linear", 12.0, 0.2, id="linear-end"),
        pytest.param("cosine", 13.0, 0.2, id="beyond-the-end"),
    ],
)
def test_schedule(decay, at, fraction):
    settings = Distillation(warmup_epochs=2, decay=decay, final_share=0.2)
    assert settings.fraction_at(at, 12) == pytest.approx(fraction, abs=1e-6)


def test_without_a_warm_up_the_teacher_is_heard_at_once():
    assert Distillation(warmup_epochs=0).fraction_at(0.0, 5) == 1.0
    assert Distillation(warmup_epochs=5, decay="cosine").fraction_at(5.0, 5) == 1.0


@pytest.mark.parametrize(
    ("changes", "said", "cure"),
    [
        pytest.param({"class_names": ("a", "b", "c")}, "class_names = wrinkle", "taxonomy", id="classes"),
        pytest.param({"input_size_hw_px": (96, 64)}, "input_size_hw_px = 64, 64", "recipe", id="size"),
        pytest.param({"enhancement": NoEnhancement()}, "enhancement = ", r"\[enhancement\]", id="none"),
        pytest.param({"enhancement": Clahe(clip_limit=3)}, "clip_limit=2", r"\[enhancement\]", id="clahe"),
        pytest.param({"colour_order": "rgb"}, "colour_order = grey", "colour_order", id="channels"),
        pytest.param({"mm_per_px": 0.3}, "mm_per_px = 0.2", "mm_per_px", id="scale"),
        pytest.param({"mm_per_px": None}, "student not known", "mm_per_px", id="no-scale"),
    ],
)
def test_a_teacher_of_other_cloth_is_refused_in_one_line(teacher_file, changes, said, cure):
    contract = tiny_contract().model_copy(update=changes)
    with pytest.raises(ConfigError, match=cure) as caught:
        load_teacher(teacher_file, contract)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_teacher_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "best.pt").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="damaged"):
        load_teacher(tmp_path / "best.pt", tiny_contract())


def test_heads_with_other_levels_are_refused():
    student, teacher = random_outputs(1), random_outputs(2, "teacher")
    with pytest.raises(ConfigError, match="levels of"):
        check_alike(student, replace(teacher, features=teacher.features[:2]))


def test_a_teacher_without_distributions_is_refused_before_training():
    shapes = random_outputs(1), random_outputs(2, "teacher", bins=None)
    with pytest.raises(ConfigError, match="box_loss"):
        Terms(Heads(Distillation(box_loss="kl"), FLOAT32, *shapes, 0.2))
    Terms(Heads(Distillation(box_loss="giou"), FLOAT32, *shapes, 0.2))


@pytest.mark.parametrize(
    ("bins", "kind"),
    [
        ((16, 16), "kl"),
        ((None, 16), "giou"),
        ((16, None), "giou"),
        ((None, None), "giou"),
        ((16, 8), "giou"),
    ],
)
def test_boxes_are_compared_as_the_heads_permit(bins, kind):
    student, teacher = random_outputs(1, bins=bins[0]), random_outputs(2, "teacher", bins=bins[1])
    settings = Distillation(feature_weight=0, relation_weight=0, response_class_weight=0)
    term = Terms(Heads(settings, FLOAT32, student, teacher, 0.2))
    mask = random_mask(3)
    found = term.of(BatchOutputs(student, teacher, mask, (SIZE_PX, SIZE_PX)))["gid_response_box"]
    assert torch.equal(found, box_loss(student, teacher, mask, kind))


def test_the_term_that_is_not_finite_is_named(teacher_file, data, tmp_path):
    run, _ = run_under(teacher_file, data, tmp_path)
    with torch.no_grad():
        next(run.task.adapters.parameters()).fill_(float("inf"))
    with pytest.raises(TrainingError, match=r"epoch 1 \(gid_feature\)"):
        still(run)


def test_a_distillation_without_a_teacher_is_a_mistake_of_the_caller(teacher_file, data, tmp_path):
    recipe = tiny_recipe(distillation=EVERYTHING)
    with pytest.raises(ValueError, match="needs a teacher"):
        prepare_run(data, tiny_contract(), recipe, RunFolder(tmp_path), CPU, (0, 1, 2))
    with pytest.raises(ValueError, match="needs a teacher"):
        prepare_run(
            data,
            tiny_contract(),
            recipe.alone(),
            RunFolder(tmp_path),
            CPU,
            (0, 1, 2),
            load_detector(teacher_file),
        )


def test_a_student_begins_as_it_would_alone(teacher_file, data, tmp_path):
    taught, _ = run_under(teacher_file, data, tmp_path)
    alone = prepare_run(data, tiny_contract(), tiny_recipe(), RunFolder(tmp_path), CPU, (0, 1, 2))
    ours, theirs = taught.module.state_dict(), alone.module.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_wider_teacher_fits(data, tmp_path):
    torch.manual_seed(0)
    structure = DetectorStructure(scale="n", channels=1, classes=3)
    checkpoint = Checkpoint(structure, build_module(structure).state_dict(), tiny_contract())
    write_checkpoint(tmp_path / "n.pt", checkpoint)
    run, teacher = run_under(tmp_path / "n.pt", data, tmp_path / "run")
    assert still(run) == []
    assert all(not p.requires_grad for p in teacher.module.parameters())
