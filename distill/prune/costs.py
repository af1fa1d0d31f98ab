"""Compute the MACs of a detector at given widths from its channel graph, instead of running it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from distill.detector.channels import ChannelGraph, Convolution

Counts = tuple[int, ...]
"""Channels kept of each group of a graph, by number."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Describe what a convolution does, but for its channels.

    Attributes:
        kernel_hw: of the filter.
        out_hw: of the map it makes.
        groups: 1, or of a grouped convolution; a depthwise one has as many as channels, and 0 here.
        values_per_channel: learnt numbers for each output channel beside the filter: bias, gamma, beta.
    """

    kernel_hw: tuple[int, int]
    out_hw: tuple[int, int]
    groups: int
    values_per_channel: int


@dataclass(frozen=True, slots=True)
class Costs:
    """Know the costs of a detector at any widths.

    Attributes:
        shapes: of the convolutions of the graph, in its order.
        other_macs, other_parameters: of all that is never pruned and is not in the graph.
    """

    graph: ChannelGraph
    shapes: tuple[Shape, ...]
    other_macs: int
    other_parameters: int

    @property
    def whole(self) -> Counts:
        """Return the counts of the detector as it is."""
        return tuple(group.size for group in self.graph.groups)

    def layer_macs(self, counts: Sequence[int]) -> dict[str, int]:
        """Return the MACs of each convolution for one input."""
        found = {}
        for one, shape in self._convolutions():
            height, width = shape.out_hw
            found[one.name] = height * width * _filter_values(one, shape, counts)
        return found

    def macs(self, counts: Sequence[int]) -> int:
        """Return the MACs for one input, as `count_macs` would count them."""
        return sum(self.layer_macs(counts).values()) + self.other_macs

    def parameters(self, counts: Sequence[int]) -> int:
        """Return how many numbers are learnt."""
        total = self.other_parameters
        for one, shape in self._convolutions():
            total += _filter_values(one, shape, counts)
            total += channels_of(one.outputs, counts) * shape.values_per_channel
        return total

    def _convolutions(self) -> zip[tuple[Convolution, Shape]]:
        return zip(self.graph.convolutions, self.shapes, strict=True)


def channels_of(groups: Sequence[int], counts: Sequence[int]) -> int:
    """Return how many channels some groups have together."""
    return sum(counts[group] for group in groups)


def costs_of(module: nn.Module, graph: ChannelGraph, input_shape: tuple[int, int, int]) -> Costs:
    """Run a detector once on an empty image and note what each convolution costs.

    Args:
        module: of `build_module`; it is left in the mode it was in.
        graph: its channel graph.
        input_shape: channels, height, width.
    """
    seen = _observed(module, input_shape)
    shapes = []
    for one in graph.convolutions:
        layer, out_hw = seen.pop(one.name)
        shapes.append(
            Shape(
                kernel_hw=layer.kernel_size,
                out_hw=out_hw,
                groups=0 if one.depthwise else layer.groups,
                values_per_channel=(layer.bias is not None) + 2 * (one.norm is not None),
            )
        )
    costs = Costs(graph, tuple(shapes), 0, 0)
    other_macs = sum(out[0] * out[1] * layer.weight.numel() for layer, out in seen.values())
    parameters = sum(tensor.numel() for tensor in module.parameters())
    return Costs(graph, tuple(shapes), other_macs, parameters - costs.parameters(costs.whole))


def _observed(
    module: nn.Module, input_shape: tuple[int, int, int]
) -> dict[str, tuple[Any, tuple[int, int]]]:
    """Return each convolution by name, with the size of the map it makes."""
    seen: dict[str, tuple[Any, tuple[int, int]]] = {}
    hooks = []
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d):

            def note(
                layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name
            ) -> None:
                seen[name] = layer, (output.shape[2], output.shape[3])

            hooks.append(layer.register_forward_hook(note))
    was_training, device = module.training, next(module.parameters()).device
    try:
        with torch.inference_mode():
            module.eval()(torch.zeros(1, *input_shape, device=device))
    finally:
        module.train(was_training)
        for hook in hooks:
            hook.remove()
    return seen


def _filter_values(one: Convolution, shape: Shape, counts: Sequence[int]) -> int:
    """Return the numbers in a convolution's filters."""
    height, width = shape.kernel_hw
    entering = 1 if one.depthwise else channels_of(one.inputs, counts) // shape.groups
    return height * width * entering * channels_of(one.outputs, counts)
