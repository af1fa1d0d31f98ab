from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from distill.labels.sam.losses import dice_loss, focal_loss, loss_parts, overlaps
from distill.labels.sam.settings import SamFinetuneSettings


def masks(*areas):
    made = torch.zeros(len(areas), 8, 8)
    for mask, area in zip(made, areas, strict=True):
        mask.view(-1)[:area] = 1
    return made


def test_without_gamma_the_focal_loss_is_the_cross_entropy():
    logits, ground_truth = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0)), masks(3, 9, 30)
    expected = functional.binary_cross_entropy_with_logits(logits, ground_truth)
    assert torch.allclose(focal_loss(logits, ground_truth, 0.0), expected)


def test_gamma_takes_weight_from_what_is_right_already():
    ground_truth = masks(16)
    sure, unsure = 20 * ground_truth - 10, ground_truth - 0.5
    assert focal_loss(unsure, ground_truth, 2.0) < focal_loss(unsure, ground_truth, 0.0)
    ratio = focal_loss(unsure, ground_truth, 2.0) / focal_loss(sure, ground_truth, 2.0).clamp(min=1e-30)
    assert ratio > focal_loss(unsure, ground_truth, 0.0) / focal_loss(sure, ground_truth, 0.0)


def test_the_dice_loss_is_0_for_the_ground_truth_and_near_1_for_its_opposite():
    ground_truth = masks(16, 40)
    assert dice_loss(100 * (2 * ground_truth - 1), ground_truth) == pytest.approx(0, abs=1e-6)
    assert dice_loss(-100 * (2 * ground_truth - 1), ground_truth) > 0.97


@pytest.mark.parametrize(
    ("drawn", "true", "expected"), [(0, 0, 1.0), (16, 16, 1.0), (8, 16, 0.5), (0, 9, 0.0)]
)
def test_overlaps(drawn, true, expected):
    assert overlaps(2 * masks(drawn) - 1, masks(true)).item() == pytest.approx(expected)


def test_parts_have_their_weights_and_gradients():
    logits = torch.zeros(1, 8, 8, requires_grad=True)
    quality = torch.zeros(1, requires_grad=True)
    parts = loss_parts(logits, quality, masks(16), SamFinetuneSettings())
    doubled = loss_parts(logits, quality, masks(16), SamFinetuneSettings(focal_weight=40, dice_weight=2))
    assert doubled["focal"].item() == pytest.approx(2 * parts["focal"].item())
    assert doubled["dice"].item() == pytest.approx(2 * parts["dice"].item())
    sum(parts.values()).backward()
    assert logits.grad.abs().sum() > 0
