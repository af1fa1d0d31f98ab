"""Apply a plan: silence channels in a copy, or cut them out. Nothing else makes smaller tensors."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from distill.detector.build import build_module
from distill.detector.channels import ChannelGraph, Convolution, channel_graph
from distill.prune.plan import PruningPlan, joined
from distill.settings.structure import DetectorStructure, Width
from edge.core.errors import ConfigError

KeptOfGroups = tuple[tuple[int, ...], ...]


def masked(module: nn.Module, plan: PruningPlan) -> nn.Module:
    """Copy a detector and silence the channels that the plan drops: they say 0, whatever they read.

    Raises:
        ConfigError: if the plan is of another structure.
    """
    graph = channel_graph(module)
    groups_kept(graph, plan)
    copy = deepcopy(module)
    with torch.no_grad():
        for one in graph.prunable:
            source: Any = copy.get_submodule(one.norm or one.name)
            dropped = torch.ones(len(source.weight), dtype=torch.bool, device=source.weight.device)
            dropped[list(plan.kept[one.name])] = False
            source.weight[dropped] = 0
            if source.bias is not None:
                source.bias[dropped] = 0
    return copy


def cut(
    module: nn.Module, structure: DetectorStructure, plan: PruningPlan
) -> tuple[nn.Module, DetectorStructure]:
    """Make a detector of the channels that the plan keeps; the one given is left as it is.

    Returns:
        A new detector, on the same device and in the same mode, and its structure.
    Raises:
        ConfigError: if the plan is of another structure.
    """
    graph = channel_graph(module)
    kept = groups_kept(graph, plan)
    widths = tuple(sorted(_width(graph, one, kept) for one in graph.convolutions))
    smaller = structure.model_copy(update={"widths": widths})
    with torch.random.fork_rng(devices=[]):  # the fresh weights are replaced: leave no trace of them
        made = build_module(smaller)
    made.load_state_dict(_cut_weights(module, graph, kept), strict=True)
    made.to(next(module.parameters()).device).train(module.training)
    return made, smaller


def groups_kept(graph: ChannelGraph, plan: PruningPlan) -> KeptOfGroups:
    """Return the channels of each group that a plan keeps.

    Raises:
        ConfigError: if it does not name the layers of this graph, names a channel that is not there, or
            keeps in two layers that share their channels different ones.
    """
    names = {one.name for one in graph.prunable}
    if names != set(plan.kept):
        raise _misfit(f"it does not name '{sorted(names ^ set(plan.kept))[0]}' where the detector does")
    found: list[tuple[int, ...] | None] = [
        None if group.prunable else tuple(range(group.size)) for group in graph.groups
    ]
    for one in graph.prunable:
        start = 0
        for number in one.outputs:
            end = start + graph.groups[number].size
            part = tuple(channel - start for channel in plan.kept[one.name] if start <= channel < end)
            if not part:
                raise _misfit(f"it keeps no channel of {one.name}")
            if found[number] not in (None, part):
                raise _misfit(f"{one.name} shares its channels with a layer that keeps others")
            found[number], start = part, end
        if plan.kept[one.name][-1] >= start:
            raise _misfit(
                f"{one.name} has {start} channels, and it keeps channel {plan.kept[one.name][-1]}"
            )
    return tuple(part or () for part in found)


def _width(graph: ChannelGraph, one: Convolution, kept: KeptOfGroups) -> Width:
    return one.name, len(joined(graph, one.outputs, kept)), len(joined(graph, one.inputs, kept))


def _cut_weights(module: nn.Module, graph: ChannelGraph, kept: KeptOfGroups) -> dict[str, Tensor]:
    """Return the state dict without the channels that go."""
    weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    for one in graph.convolutions:
        leaving = list(joined(graph, one.outputs, kept))
        entering = list(joined(graph, one.inputs, kept))
        filters = weights[f"{one.name}.weight"][leaving]
        grouped = filters.shape[1] != sum(graph.groups[group].size for group in one.inputs)
        weights[f"{one.name}.weight"] = filters if grouped else filters[:, entering]
        for name in (f"{one.name}.bias", *_norm_values(one)):
            if name in weights:
                weights[name] = weights[name][leaving]
    return weights


def _norm_values(one: Convolution) -> tuple[str, ...]:
    if one.norm is None:
        return ()
    return tuple(f"{one.norm}.{value}" for value in ("weight", "bias", "running_mean", "running_var"))


def _misfit(problem: str) -> ConfigError:
    return ConfigError(
        f"The pruning plan is of another detector: {problem}.",
        "Use it with the checkpoint it was made from, or make a new plan.",
    )
