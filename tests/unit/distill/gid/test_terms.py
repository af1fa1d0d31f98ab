"""Each term against a slow reference, and where its gradients go."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision

from distill.gid.baseline import Projectors, weighted_feature_loss
from distill.gid.feature import Adapters, feature_loss
from distill.gid.relation import distance_loss, relation_loss
from distill.gid.response import box_loss, class_loss, objectness_loss
from distill.gid.roi_align import regions
from edge.core.errors import ConfigError
from tests.unit.distill.gid.heads import CHANNELS, SIZE_PX, random_mask, random_outputs, small_detector

SEEDS = range(3)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sigmoid(value):
    return 1 / (1 + math.exp(-float(value)))


def cross_entropy(probability, target):
    return -(target * math.log(probability) + (1 - target) * math.log(1 - probability))


def places_of(mask):
    return mask.nonzero().tolist()


def random_rois(seed, count=5):
    made = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=made) * 40
    return torch.cat([torch.arange(count)[:, None] % 3, corner, corner + 3 + corner / 2], dim=1)


def test_regions_are_torchvisions_at_the_scale_of_each_level():
    features, rois = random_outputs(0).features, random_rois(0, count=2)
    for level, ours in zip(features, regions(features, rois, (SIZE_PX, SIZE_PX)), strict=True):
        theirs = torchvision.ops.roi_align(level, rois, 10, level.shape[2] / SIZE_PX, 2, aligned=True)
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_feature_term_is_that_of_the_slow_reference(seed):
    ours = regions(random_outputs(seed).features, random_rois(seed), (SIZE_PX, SIZE_PX))
    theirs = regions(random_outputs(seed + 9).features, random_rois(seed), (SIZE_PX, SIZE_PX))
    means = []
    for a, b in zip(ours, theirs, strict=True):
        squares = [(x - y) ** 2 for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)]
        means.append(sum(squares) / len(squares))
    assert feature_loss(ours, theirs).item() == pytest.approx(sum(means) / 3, abs=1e-5)


def slow_distance_term(student, teacher):
    def matrix(features):
        rows = [row.flatten().tolist() for row in features]
        count = len(rows)
        distances = [[math.dist(a, b) for b in rows] for a in rows]
        mean = sum(map(sum, distances)) / (count * count - count)
        return [[d / mean for d in row] for row in distances]

    ours, theirs, total = matrix(student), matrix(teacher), 0.0
    count = len(ours)
    for i in range(count):
        for j in range(count):
            gap = abs(ours[i][j] - theirs[i][j])
            total += 0.5 * gap * gap if gap < 1 else gap - 0.5
    return total / (count * count - count)


@pytest.mark.parametrize("scope", ["image", "batch"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_relation_term_is_that_of_the_slow_reference(seed, scope):
    made = torch.Generator().manual_seed(seed)
    image_of = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2])
    student = [torch.randn(9, c, 2, 2, generator=made) for c in CHANNELS["student"]]
    teacher = [torch.randn(9, c, 2, 2, generator=made) * 7 for c in CHANNELS["teacher"]]
    groups = [[0, 1, 2], [5, 6, 7, 8]] if scope == "image" else [list(range(9))]
    terms = [
        slow_distance_term(ours[group], theirs[group])
        for group in groups
        for ours, theirs in zip(student, teacher, strict=True)
    ]
    found = relation_loss(student, teacher, image_of, scope)
    assert found.item() == pytest.approx(sum(terms) / len(terms), abs=1e-5)


def test_many_instances_have_exact_distances():
    """Beyond 25 rows torch would compute distances by a matrix product, and lose digits."""
    made = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(30, 40, generator=made) + 50, torch.randn(30, 8, generator=made)
    assert distance_loss(student, teacher).item() == pytest.approx(
        slow_distance_term(student, teacher), abs=1e-5
    )


@pytest.mark.parametrize(
    ("image_of", "scope"),
    [([], "image"), ([], "batch"), ([0, 0], "batch"), ([0, 0, 1, 1, 2], "image")],
    ids=["none", "none-in-batch", "two", "two-each"],
)
def test_too_few_instances_teach_no_relation(image_of, scope):
    student = [torch.randn(len(image_of), 4, requires_grad=True)]
    term = relation_loss(student, [torch.randn(len(image_of), 4)], torch.tensor(image_of).long(), scope)
    term.backward()
    assert term.item() == 0


def test_instances_that_are_all_the_same_give_finite_gradients():
    student = torch.ones(4, 8, requires_grad=True)
    distance_loss(student, torch.randn(4, 8)).backward()
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_class_term_is_that_of_the_slow_reference(seed):
    student, teacher, mask = random_outputs(seed), random_outputs(seed + 9, "teacher"), random_mask(seed)
    total = 0.0
    for image, place in places_of(mask):
        for ours, theirs in zip(
            student.class_logits[image, place], teacher.class_logits[image, place], strict=True
        ):
            total += cross_entropy(sigmoid(ours), sigmoid(theirs))
    found = class_loss(student, teacher, mask).item()
    assert found == pytest.approx(total / len(places_of(mask)), abs=1e-5)


@pytest.mark.parametrize("who", ["student", "teacher"])
def test_scores_with_objectness_stand_against_scores_without(who):
    student = random_outputs(1, objectness=who == "student")
    teacher = random_outputs(2, "teacher", objectness=who == "teacher")
    mask, total = random_mask(3), 0.0
    for image, place in places_of(mask):
        for ours, theirs in zip(student.scores[image, place], teacher.scores[image, place], strict=True):
            total += cross_entropy(float(ours), float(theirs))
    found = class_loss(student, teacher, mask).item()
    assert found == pytest.approx(total / len(places_of(mask)), abs=1e-4)
    assert objectness_loss(student, teacher, mask) is None


def test_the_objectness_term_is_that_of_the_slow_reference():
    student, teacher = (random_outputs(n, w, objectness=True) for n, w in ((1, "student"), (2, "teacher")))
    mask = random_mask(3)
    total = sum(
        cross_entropy(sigmoid(student.objectness_logits[i, p]), sigmoid(teacher.objectness_logits[i, p]))
        for i, p in places_of(mask)
    )
    found = objectness_loss(student, teacher, mask)
    assert found.item() == pytest.approx(total / len(places_of(mask)), abs=1e-5)


def slow_giou(a, b):
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])  # noqa: E731
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = area(a) + area(b) - shared
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return shared / union, shared / union - (hull - union) / hull


def slow_ciou(a, b):
    iou, _ = slow_giou(a, b)
    centre = lambda box, axis: (box[axis] + box[axis + 2]) / 2  # noqa: E731
    distance = sum((centre(a, axis) - centre(b, axis)) ** 2 for axis in (0, 1))
    diagonal = sum((max(a[n + 2], b[n + 2]) - min(a[n], b[n])) ** 2 for n in (0, 1))
    angles = [math.atan((box[2] - box[0]) / (box[3] - box[1])) for box in (a, b)]
    shape = 4 / math.pi**2 * (angles[1] - angles[0]) ** 2
    return iou - distance / diagonal - shape * shape / (1 - iou + shape)


@pytest.mark.parametrize("kind", ["giou", "ciou", "kl"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_box_term_is_that_of_the_slow_reference(seed, kind):
    student, teacher, mask = random_outputs(seed), random_outputs(seed + 9, "teacher"), random_mask(seed)
    total = 0.0
    for image, place in places_of(mask):
        ours, theirs = (one.boxes_xyxy_px[image, place].tolist() for one in (student, teacher))
        if kind == "giou":
            total += 1 - slow_giou(ours, theirs)[1]
        elif kind == "ciou":
            total += 1 - slow_ciou(ours, theirs)
        else:
            for side in range(4):
                logits = [one.side_logits[image, place, side].tolist() for one in (student, teacher)]
                sums = [sum(map(math.exp, row)) for row in logits]
                q, p = ([math.exp(v) / s for v in row] for row, s in zip(logits, sums, strict=True))
                total += sum(b * math.log(b / a) for a, b in zip(q, p, strict=True)) / 4
    found = box_loss(student, teacher, mask, kind).item()
    assert found == pytest.approx(total / len(places_of(mask)), abs=1e-5)


@pytest.mark.parametrize(
    ("bins", "said"),
    [((None, 16), "student's head gives none"), ((16, 8), "8 bins")],
    ids=["none", "other"],
)
def test_distributions_are_compared_only_with_the_same_bins(bins, said):
    student, teacher = random_outputs(1, bins=bins[0]), random_outputs(2, "teacher", bins=bins[1])
    with pytest.raises(ConfigError, match=said) as caught:
        box_loss(student, teacher, random_mask(1), "kl")
    assert "auto" in caught.value.cure
    assert torch.isfinite(box_loss(student, teacher, random_mask(1), "giou"))


@pytest.mark.parametrize("kind", ["giou", "ciou", "kl"])
def test_an_empty_mask_gives_zero_and_its_gradient(kind):
    student, teacher = random_outputs(1, grad=True), random_outputs(2, "teacher")
    nothing = torch.zeros(3, 84, dtype=torch.bool)
    term = class_loss(student, teacher, nothing) + box_loss(student, teacher, nothing, kind)
    term.backward()
    assert term.item() == 0
    assert student.class_logits.grad.abs().sum() == 0


@pytest.mark.parametrize("term", ["class", "giou", "ciou", "kl"])
def test_responses_are_learnt_inside_the_mask_and_nowhere_else(term):
    """An inverted mask would push where nothing was chosen."""
    student, teacher = random_outputs(1, grad=True), random_outputs(2, "teacher", grad=True)
    mask = random_mask(5)
    if term == "class":
        class_loss(student, teacher, mask).backward()
        pushed = student.class_logits.grad
    else:
        box_loss(student, teacher, mask, term).backward()
        pushed = student.side_logits.grad if term == "kl" else student.boxes_xyxy_px.grad
    where = pushed.flatten(2).abs().sum(-1) > 0
    assert not (where & ~mask).any()
    assert (where & mask).sum() >= 0.9 * mask.sum()
    for tensor in (teacher.class_logits, teacher.boxes_xyxy_px, teacher.side_logits):
        assert tensor.grad is None


def test_features_push_student_and_adapters_but_never_the_teacher():
    student, teacher = random_outputs(1, grad=True), random_outputs(2, "teacher", grad=True)
    adapters, rois = Adapters(CHANNELS["student"], CHANNELS["teacher"]), random_rois(1, 6)
    size = (SIZE_PX, SIZE_PX)
    theirs = regions(teacher.features, rois, size)
    images = rois[:, 0].long()
    term = feature_loss(regions(adapters(student.features), rois, size), theirs)
    term = term + relation_loss(regions(student.features, rois, size), theirs, images, "batch")
    term.backward()
    assert all(level.grad.abs().sum() > 0 for level in student.features)
    assert all(parameter.grad.abs().sum() > 0 for parameter in adapters.parameters())
    assert all(level.grad is None for level in teacher.features)


def test_of_several_places_in_a_cell_the_surest_weighs():
    student, teacher = random_outputs(1, "teacher"), random_outputs(2, "teacher")
    by_level = teacher.scores.split([64, 16, 4], dim=1)
    anchors = torch.cat([torch.cat([0.5 * level, level, 0.1 * level], dim=1) for level in by_level], dim=1)
    ours = weighted_feature_loss(student.features, teacher.features, anchors)
    alone = weighted_feature_loss(student.features, teacher.features, teacher.scores)
    assert ours.item() == pytest.approx(alone.item(), rel=1e-6)


def test_the_baseline_is_what_ultralytics_computes():
    from importlib import import_module
    from types import SimpleNamespace

    from distill.detector.head import head_outputs

    student, teacher = small_detector(0), small_detector(1, "n")
    student.args = SimpleNamespace(imgsz=64, dis=6.0)
    original = import_module("ultralytics.nn.distill_model").DistillationModel(teacher, student).train()
    original.student_model.loss = lambda batch, predictions: (torch.zeros(3), {})
    images = torch.rand(2, 1, 64, 64)
    loss, items = original.loss({"img": images})
    projectors = Projectors((32, 64, 128), (64, 128, 256))
    for ours, theirs in zip(projectors.levels, original.projector, strict=True):
        ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        student.train()
        ours = head_outputs(student, student(images))
        theirs = head_outputs(teacher, teacher(images)[1])
        found = 6 * weighted_feature_loss(projectors(ours.features), theirs.features, theirs.scores)
    assert found.item() == pytest.approx(items["dis_loss"].item(), rel=1e-4)
    assert loss[-1].item() == pytest.approx(2 * found.item(), rel=1e-4)
