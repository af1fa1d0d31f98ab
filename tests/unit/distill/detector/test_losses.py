"""Every head learns, trusts boxes by their weight, and bears images without any."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import box_iou

from distill.core.precision import Precision
from distill.detector.build import DetectionTask
from distill.detector.ground_truth import batch_ground_truth, padded
from distill.detector.head import head_outputs
from distill.detector.losses import loss_of
from tests.unit.distill.detector.small_heads import (
    BOXES,
    EXAMPLES,
    SHORT,
    input_images,
    module_of,
    targets_of,
    task_of,
)


def learn(module, task, images, targets, steps):
    optimizer = torch.optim.AdamW(module.parameters(), lr=2e-3)
    totals = []
    for _ in range(steps):
        loss = torch.stack(list(task.loss_parts(images, targets).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    return totals


def scene():
    """Two images with a bright spot and a dark bar each."""
    images, rows = input_images(2) * 0.2 + 0.4, []
    for number, (x, y) in enumerate([(8, 16), (34, 28)]):
        images[number, :, y : y + 16, x : x + 16] = 1.0
        rows.append((number, 1, (x + 8) / 64, (y + 8) / 64, 0.25, 0.25))
        images[number, :, 50:58, 10:50] = 0.0
        rows.append((number, 2, 30 / 64, 54 / 64, 40 / 64, 8 / 64))
    return images, targets_of(rows)


@pytest.mark.parametrize(("family", "assigner"), EXAMPLES)
def test_the_loss_falls_on_one_batch(family, assigner):
    """Task-aligned losses rise while boxes are first found, and fall then: the highest is what counts.

    How far they fall depends on the processor; that they fall does not.
    """
    module, task = task_of(family, assigner)
    totals = learn(module, task, *scene(), 45)
    assert max(totals[-5:]) < max(totals)


@pytest.mark.parametrize(("family", "assigner"), EXAMPLES)
def test_no_boxes_give_a_finite_loss_and_a_gradient(family, assigner):
    module, task = task_of(family, assigner)
    parts = task.loss_parts(input_images(), targets_of([]))
    torch.stack(list(parts.values())).sum().backward()
    assert all(torch.isfinite(value) for value in parts.values())
    assert parts["box"].item() == 0
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize(("family", "assigner"), EXAMPLES)
@pytest.mark.parametrize(
    "row",
    [
        pytest.param((0, 0, 0.5, 0.5, 1.0, 1.0), id="whole-image"),
        pytest.param((0, 0, 0.02, 0.98, 0.03, 0.03), id="tiny-in-a-corner"),
        pytest.param((0, 0, 0.5, 0.5, 1.0, 0.02), id="a-line"),
        pytest.param((0, 0, 1.0, 1.0, 1e-6, 1e-6), id="a-point-on-the-edge"),
    ],
)
def test_strange_boxes_give_a_finite_loss(family, assigner, row):
    _, task = task_of(family, assigner)
    parts = task.loss_parts(input_images(), targets_of([row, row]))
    assert all(torch.isfinite(value) for value in parts.values()), parts


@pytest.mark.parametrize(("family", "assigner"), EXAMPLES)
def test_a_box_of_weight_0_is_no_box(family, assigner):
    losses = []
    for rows, weights in ((BOXES[:2], None), (BOXES, [1.0, 1.0, 0.0])):
        _, task = task_of(family, assigner)
        # The third box has an image for itself, so that it takes no place from another.
        rows = [(2, *row[1:]) if row == BOXES[2] else row for row in rows]
        losses.append(task.loss_parts(input_images(3), targets_of(rows, weights)))
    for name, value in losses[0].items():
        torch.testing.assert_close(value, losses[1][name], msg=name)


@pytest.mark.parametrize(("family", "assigner"), EXAMPLES)
def test_every_part_depends_on_the_weights(family, assigner):
    def losses(last):
        _, task = task_of(family, assigner)
        parts = task.loss_parts(input_images(), targets_of(BOXES, [1.0, 1.0, last]))
        return {name: value.item() for name, value in parts.items()}

    assert losses(1.0) == losses(1.0)
    assert all(losses(1.0)[name] != losses(0.5)[name] for name in losses(1.0))


def test_a_point_is_taught_the_weight_as_its_objectness():
    """At the loss's minimum sigmoid(objectness) is the weight of the box: the gradient vanishes there."""
    module = module_of("yolov5-yolox").train()
    loss = loss_of(module, "simota")
    predictions = module(input_images())
    predictions["objectness"] = torch.full_like(predictions["objectness"], -30.0)
    targets = targets_of(BOXES[:1], [0.25])
    outputs = head_outputs(module, predictions)
    _, _, foreground, _ = loss._assigned(outputs, batch_ground_truth(targets, 2, (64, 64)))
    assert foreground.any()
    logits = torch.full_like(predictions["objectness"], -30.0)
    logits[:, 0][foreground] = torch.tensor(0.25).logit()
    logits.requires_grad_()
    loss({**predictions, "objectness": logits}, targets)["objectness"].backward()
    assert logits.grad.abs().max() < 1e-6


@pytest.mark.parametrize(("family", "assigner"), EXAMPLES)
def test_losses_are_computed_in_float32_under_autocast(family, assigner):
    _, task = task_of(family, assigner, Precision("bf16", "cpu"))
    parts = task.loss_parts(input_images(), targets_of(BOXES))
    torch.stack(list(parts.values())).sum().backward()
    assert {value.dtype for value in parts.values()} == {torch.float32}
    assert all(torch.isfinite(value) for value in parts.values())


def test_a_box_over_the_whole_width_can_be_told_by_the_yolox_head():
    """256 px are 32 strides of the finest level: a head that gives distances in 16 bins cannot say that."""
    module = module_of("yolov5-yolox", **SHORT).train()
    predictions = module(torch.zeros(1, 1, 32, 256))
    outputs = head_outputs(module, predictions)
    strides, wanted = outputs.strides_px, torch.tensor([[128.0, 16.0, 256.0, 12.0]])
    corners = outputs.points_xy_px / strides[:, None] - 0.5
    offsets = wanted[:, :2] / strides[:, None] - corners
    raw = torch.cat([offsets, (wanted[:, 2:] / strides[:, None]).log()], dim=1).T[None].requires_grad_()
    told = {**predictions, "boxes": raw}
    found = head_outputs(module, told).boxes_xyxy_px[0].detach()
    assert box_iou(found, torch.tensor([[0.0, 10.0, 256.0, 22.0]])).min().item() > 0.99
    parts = loss_of(module, "simota")(told, targets_of([(0, 0, 0.5, 0.5, 1.0, 12 / 32)]))
    parts["box"].backward()
    assert parts["box"].item() < 0.1
    assert torch.isfinite(raw.grad).all()


def test_an_assigner_that_the_head_does_not_know():
    module = module_of("yolov5-coupled")
    with pytest.raises(ValueError, match="no assigner simota"):
        DetectionTask(module, Precision("float32", "cpu"), "simota")


def test_values_lie_by_image():
    laid = padded(torch.tensor([0, 2, 2]), torch.tensor([[1.0], [2.0], [3.0]]), 3, 9.0)
    assert laid.tolist() == [[[1], [9]], [[9], [9]], [[2], [3]]]
    ground_truth = batch_ground_truth(targets_of(BOXES, [0.1, 0.2, 0.3]), 2, (100, 50))
    assert ground_truth.labels.tolist() == [[1, 0], [2, 0]]
    assert ground_truth.is_box.tolist() == [[True, False], [True, True]]
    torch.testing.assert_close(ground_truth.boxes_xyxy_px[1, 0], torch.tensor([25.0, 2.5, 35.0, 27.5]))
    assert ground_truth.weights_of(torch.tensor([[0], [1]])).flatten().tolist() == pytest.approx([0.1, 0.3])
