"""Match the features of a backbone with those of a trunk: how far apart they are, at each level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from distill.detector.trunk import LEVEL_STRIDES

LEAST_VARIANCE = 1e-6
"""Added to the variance of a channel: one that is constant in a batch has nothing to say."""


class FeatureMatching(nn.Module):
    """Compare maps of a backbone, each through an adapter of its own, with those of a trunk.

    The adapters are 1 x 1 convolutions, as the regressors of FitNets (Romero et al., ICLR 2015). They learn
    along with the backbone and are no part of it: what they can say of its features is what it has learnt.

    Args:
        ours: channels of the backbone at each level.
        theirs: channels of the trunk.
        weights: of the loss at each level.
    """

    def __init__(self, ours: Sequence[int], theirs: Sequence[int], weights: Sequence[float]) -> None:
        super().__init__()
        self._weights = tuple(weights)
        self._adapters = nn.ModuleList(
            nn.Conv2d(mine, wanted, 1) for mine, wanted in zip(ours, theirs, strict=True)
        )

    def forward(self, ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the weighted loss of each level, by name: `stride_8`, `stride_16`, `stride_32`."""
        levels = zip(LEVEL_STRIDES, self._weights, self._adapters, ours, theirs, strict=True)
        return {
            f"stride_{stride}": weight * disagreement(adapter(mine), wanted)
            for stride, weight, adapter, mine, wanted in levels
        }


def disagreement(ours: Tensor, theirs: Tensor) -> Tensor:
    """Compute 1 - Pearson's correlation of each channel over a batch, and return the mean over channels.

    It is half the squared error of features that were standardised per channel (Cao et al., PKD: General
    Distillation Framework for Object Detectors via Pearson Correlation Coefficient, NeurIPS 2022). So each
    channel of the trunk counts alike, however large its values are.

    Args:
        ours, theirs: (B, C, H, W), of the same shape. Computed in float32.
    Returns:
        A scalar from 0, the same features but for scale and offset, to 2, their opposite.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"features of shape {tuple(ours.shape)} and {tuple(theirs.shape)}")
    return (_standardised(ours) - _standardised(theirs)).square().mean() / 2


def _standardised(features: Tensor) -> Tensor:
    values = features.float()
    variance, mean = torch.var_mean(values, dim=(0, 2, 3), correction=0, keepdim=True)
    return (values - mean) / torch.sqrt(variance + LEAST_VARIANCE)
