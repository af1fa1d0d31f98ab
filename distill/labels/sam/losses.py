"""Compute the loss of Segment Anything (Kirillov et al., ICCV 2023, appendix A) and the overlap."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from distill.labels.sam.settings import SamFinetuneSettings


def focal_loss(logits: Tensor, ground_truth: Tensor, gamma: float) -> Tensor:
    """Compute the focal loss (Lin et al., ICCV 2017, eq. 4, without alpha), mean over all pixels.

    Args:
        logits: (N, h, w).
        ground_truth: (N, h, w), 0 or 1.
        gamma: 0 gives the binary cross-entropy.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, ground_truth, reduction="none")
    wrong = (torch.sigmoid(logits) - ground_truth).abs()
    return (wrong**gamma * entropy).mean()


def dice_loss(logits: Tensor, ground_truth: Tensor) -> Tensor:
    """Compute 1 - 2 |A B| / (|A| + |B|) of soft masks, mean over N (Milletari et al., V-Net, 2016).

    One pixel is added above and below, so that two empty masks agree.
    """
    drawn = torch.sigmoid(logits).flatten(1)
    wanted = ground_truth.flatten(1)
    shared = 2 * (drawn * wanted).sum(dim=1) + 1
    return (1 - shared / (drawn.sum(dim=1) + wanted.sum(dim=1) + 1)).mean()


def overlaps(logits: Tensor, ground_truth: Tensor) -> Tensor:
    """Compute intersection over union of each mask with the ground truth, (N,); 1 where both are empty."""
    drawn, wanted = (logits > 0).flatten(1), (ground_truth > 0.5).flatten(1)
    union = (drawn | wanted).sum(dim=1)
    return torch.where(union > 0, (drawn & wanted).sum(dim=1) / union.clamp(min=1), 1.0)


def loss_parts(
    logits: Tensor, qualities: Tensor, ground_truth: Tensor, settings: SamFinetuneSettings
) -> dict[str, Tensor]:
    """Compute the weighted parts of the loss, each a scalar.

    Args:
        logits: (N, h, w).
        qualities: (N,) overlap that the model expects.
        ground_truth: (N, h, w), 0 or 1.
        settings: hold the weights.
    """
    quality = functional.mse_loss(qualities, overlaps(logits.detach(), ground_truth))
    return {
        "focal": settings.focal_weight * focal_loss(logits, ground_truth, settings.focal_gamma),
        "dice": settings.dice_weight * dice_loss(logits, ground_truth),
        "quality": settings.quality_weight * quality,
    }
