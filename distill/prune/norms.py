"""Measure the statistics of batch normalisation again, after channels were cut out.

What a layer reads has changed with the cut: with the statistics of the uncut detector it says next to
nothing, and no plan can be told from another.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from distill.data.tiles import TilePlan, ground_truth_batches
from edge.core.contract import ModelContract

AT_ONCE = 16


def with_norms_measured(
    module: nn.Module, plan: TilePlan, contract: ModelContract, device: torch.device
) -> nn.Module:
    """Copy a detector and take the mean over all tiles of a plan as the statistics of its norms.

    Args:
        module: on any device; it is left as it is.
        plan: tiles of images as it will see them; each batch counts alike.
    Returns:
        The copy, on `device`, in eval mode.
    """
    copy = deepcopy(module).to(device).eval()
    norms = [layer for layer in copy.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # so torch averages over all batches
        norm.train()
    with torch.inference_mode():
        for images, _ in ground_truth_batches(plan, contract, AT_ONCE):
            copy(torch.from_numpy(images.copy()).to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return copy.eval()
