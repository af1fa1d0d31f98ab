"""General instances against loops that are slow and plain."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from distill.gid.batch_outputs import BatchOutputs
from distill.gid.instances import Instances, find_instances, gi_scores, inside_instances
from distill.settings.distillation import Distillation
from tests.unit.distill.gid.heads import SIZE_PX, random_outputs

SIZE = (SIZE_PX, SIZE_PX)
KINDS = ("per-class", "of-maxima")
SETTINGS = Distillation()


def slow_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def instances_of(student, teacher, settings=SETTINGS, least_side_px=1.0, cloth=None):
    nothing = torch.zeros(student.class_logits.shape[:2], dtype=torch.bool)
    return find_instances(BatchOutputs(student, teacher, nothing, SIZE, cloth), settings, least_side_px)


def slow_instances(student, teacher, settings=SETTINGS, least_side_px=1.0, cloth=None):
    """Return per image (score, box, is the teacher's), as the paper says it."""
    found = []
    for image in range(len(student.class_logits)):
        candidates = []
        for place in range(student.class_logits.shape[1]):
            ours = [float(score) for score in student.scores[image, place]]
            theirs = [float(score) for score in teacher.scores[image, place]]
            if settings.gi_score == "per-class":
                score = max(abs(t - s) for s, t in zip(ours, theirs, strict=True))
            else:
                score = abs(max(theirs) - max(ours))
            is_teachers = max(theirs) > max(ours)
            whose = teacher if is_teachers else student
            box = [min(max(float(v), 0.0), SIZE_PX) for v in whose.boxes_xyxy_px[image, place]]
            if min(box[2] - box[0], box[3] - box[1]) < least_side_px or score == 0:
                continue
            if cloth is not None:
                row = int((box[1] + box[3]) / 2 * cloth.shape[1] / SIZE_PX)
                column = int((box[0] + box[2]) / 2 * cloth.shape[2] / SIZE_PX)
                if not cloth[image, min(row, cloth.shape[1] - 1), min(column, cloth.shape[2] - 1)]:
                    continue
            candidates.append((score, box, is_teachers))
        candidates.sort(key=lambda one: -one[0])
        kept = []
        for one in candidates[: settings.candidates]:
            if all(slow_iou(one[1], other[1]) <= settings.nms_iou for other in kept):
                kept.append(one)
        found.append(kept[: settings.instances])
    return found


def check_same(instances, slow):
    flat = [(image, *one) for image, kept in enumerate(slow) for one in kept]
    assert instances.image_of.tolist() == [image for image, *_ in flat]
    torch.testing.assert_close(
        instances.scores, torch.tensor([score for _, score, _, _ in flat]), atol=1e-5, rtol=0
    )
    boxes = torch.tensor([box for _, _, box, _ in flat]).reshape(-1, 4)
    torch.testing.assert_close(instances.boxes_xyxy_px, boxes, atol=1e-4, rtol=0)
    assert instances.is_teachers.tolist() == [is_teachers for *_, is_teachers in flat]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_instances_are_those_of_the_slow_reference(kind, seed):
    student = random_outputs(seed, objectness=seed % 2 == 0)
    teacher = random_outputs(seed + 100, "teacher")
    settings = Distillation(gi_score=kind, candidates=40, nms_iou=0.3, instances=10)
    instances = instances_of(student, teacher, settings, 6.0)
    assert len(instances) > 10
    check_same(instances, slow_instances(student, teacher, settings, 6.0))


@pytest.mark.parametrize("rows", [1, 2, 5, 64], ids=lambda rows: f"map-of-{rows}")
def test_instances_lie_on_cloth(rows):
    student, teacher = random_outputs(1), random_outputs(2, "teacher")
    cloth = torch.rand(3, rows, rows + 1, generator=torch.Generator().manual_seed(3)) < 0.5
    instances = instances_of(student, teacher, cloth=cloth)
    check_same(instances, slow_instances(student, teacher, cloth=cloth))


def test_no_cloth_no_instances():
    student, teacher = random_outputs(1), random_outputs(2, "teacher")
    instances = instances_of(student, teacher, cloth=torch.zeros(3, 4, 4, dtype=torch.bool))
    assert len(instances) == 0
    assert instances.rois().shape == (0, 5)


def test_a_teacher_that_says_the_same_has_nothing_to_teach():
    student = random_outputs(1)
    assert len(instances_of(student, student)) == 0


def test_the_two_scores_part_where_both_are_sure_of_different_classes():
    ours, theirs = torch.tensor([[[0.9, 0.1]]]), torch.tensor([[[0.1, 0.9]]])
    assert gi_scores(ours, theirs, "per-class").item() == pytest.approx(0.8)
    assert gi_scores(ours, theirs, "of-maxima").item() == pytest.approx(0.0)


def test_a_thin_yarn_is_an_instance_unless_it_is_thinner_than_the_limit():
    student, teacher = random_outputs(1, images=1), random_outputs(2, "teacher", images=1)
    boxes = torch.tensor([[30.0, 0.0, 32.5, 64.0]]).expand(1, 84, 4)
    logits = torch.full((1, 84, 3), -9.0)
    sure = logits.clone()
    sure[0, 40, 1] = 9.0
    teacher = replace(teacher, boxes_xyxy_px=boxes, class_logits=sure)
    student = replace(student, boxes_xyxy_px=boxes, class_logits=logits)
    found = instances_of(student, teacher, least_side_px=2.0)
    assert found.boxes_xyxy_px.tolist() == [[30.0, 0.0, 32.5, 64.0]]
    assert len(instances_of(student, teacher, least_side_px=3.0)) == 0


def test_instances_carry_no_gradient():
    student, teacher = random_outputs(1, grad=True), random_outputs(2, "teacher", grad=True)
    instances = instances_of(student, teacher)
    assert not instances.boxes_xyxy_px.requires_grad
    assert not instances.scores.requires_grad


@pytest.mark.parametrize("seed", range(3))
def test_the_mask_of_instances_is_that_of_the_slow_reference(seed):
    student, teacher = random_outputs(seed), random_outputs(seed + 10, "teacher")
    instances = instances_of(student, teacher, Distillation(instances=3))
    mask = inside_instances(instances, student.points_xy_px, student.strides_px, 4)
    expected = torch.zeros(4, 84, dtype=torch.bool)
    for box, image in zip(instances.boxes_xyxy_px.tolist(), instances.image_of.tolist(), strict=True):
        for place in range(84):
            stride = float(student.strides_px[place])
            distances = [
                abs(float(student.points_xy_px[place, axis]) - (box[axis] + box[axis + 2]) / 2)
                for axis in (0, 1)
            ]
            reaches = [max(box[axis + 2] - box[axis], stride) / 2 for axis in (0, 1)]
            if all(d <= r for d, r in zip(distances, reaches, strict=True)):
                expected[image, place] = True
    assert mask.tolist() == expected.tolist()
    assert 0 < mask[:3].float().mean() < 1
    assert not mask[3].any()


def test_the_thinnest_yarn_marks_a_row_of_cells_at_every_level():
    outputs = random_outputs(1, images=1)
    yarn = Instances(
        torch.tensor([[23.6, 0.0, 24.4, 64.0]]), torch.tensor([0]), torch.ones(1), torch.tensor([True])
    )
    mask = inside_instances(yarn, outputs.points_xy_px, outputs.strides_px, 1)[0]
    per_level = [int(part.sum()) for part in mask.split([64, 16, 4])]
    assert per_level == [16, 4, 2]
