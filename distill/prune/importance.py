"""Measure the importance of each channel, by name of the measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from distill.detector.channels import ChannelGraph, Convolution

ImportanceName = Literal["bn-scale", "l1"]

Scores = Mapping[int, Tensor]
"""For each prunable group a score for each channel, (size,) float64 >= 0, its mean 1."""


def group_scores(module: nn.Module, graph: ChannelGraph, importance: ImportanceName) -> Scores:
    """Score the channels of each prunable group: the average over the layers that make them.

    Args:
        module: whose graph `graph` is.
    """
    measure = _MEASURES[importance]
    scores = {}
    for number, group in enumerate(graph.groups):
        if group.prunable:
            makers = graph.makers(number)
            parts = [_of_group(graph, one, number, measure(module, one)) for one in makers]
            scores[number] = normalised(torch.stack(parts).mean(dim=0))
    return scores


def normalised(scores: Tensor) -> Tensor:
    """Bring the mean to 1, so that one threshold suits all layers; all alike where there is nothing."""
    values = scores.detach().double().cpu()
    mean = values.mean()
    return values / mean if mean > 0 else torch.ones_like(values)


def _of_group(graph: ChannelGraph, one: Convolution, group: int, scores: Tensor) -> Tensor:
    """Take the part of a layer's scores that belongs to a group; the sum where it occurs twice."""
    start, total = 0, torch.zeros(graph.groups[group].size, dtype=torch.float64)
    for number in one.outputs:
        end = start + graph.groups[number].size
        if number == group:
            total += scores[start:end]
        start = end
    return total


def _l1(module: nn.Module, one: Convolution) -> Tensor:
    """Sum the absolute weights of each filter (Li et al., Pruning Filters for Efficient ConvNets, 2017)."""
    layer: Any = module.get_submodule(one.name)
    weight: Tensor = layer.weight
    return weight.detach().double().cpu().abs().sum(dim=(1, 2, 3))


def _bn_scale(module: nn.Module, one: Convolution) -> Tensor:
    """Take |gamma| (Liu et al., Network Slimming, 2017); of a layer without a norm, the filters' L1."""
    if one.norm is None:
        return _l1(module, one)
    norm: Any = module.get_submodule(one.norm)
    gamma: Tensor = norm.weight
    return gamma.detach().double().cpu().abs()


_MEASURES: dict[ImportanceName, Callable[[nn.Module, Convolution], Tensor]] = {
    "bn-scale": _bn_scale,
    "l1": _l1,
}
