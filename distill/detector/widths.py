"""Build a detector whose layers have other numbers of channels than its scale says."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

import torch
from torch import nn

from distill.detector.channels import ChannelGraph, channel_graph
from distill.settings.structure import Width


def resize(module: nn.Module, widths: Iterable[Width]) -> None:
    """Give convolutions, and the batch norms behind them, the channels named, with fresh weights.

    Args:
        module: of `build_module`, of full width.
        widths: name, output channels and input channels; convolutions not named stay as they are.
    Raises:
        ValueError: if a name is unknown, a layer would grow, a width is changed that must not be, or a
            layer does not get the channels it takes.
    """
    before = channel_graph(module)
    norms = {one.name: one.norm for one in before.convolutions}
    for name, out_channels, in_channels in widths:
        if name not in norms:
            raise ValueError(f"there is no convolution '{name}' to give a width to")
        module.set_submodule(name, _resized_convolution(module, name, out_channels, in_channels))
        norm = norms[name]
        if norm is not None:
            module.set_submodule(norm, _resized_norm(module, norm, out_channels))
    _check_alike(before, channel_graph(module))


def _resized_convolution(module: nn.Module, name: str, out_channels: int, in_channels: int) -> nn.Conv2d:
    old: Any = module.get_submodule(name)
    if out_channels > old.out_channels or in_channels > old.in_channels:
        raise ValueError(
            f"{name} has {old.out_channels} x {old.in_channels} channels and cannot grow to "
            f"{out_channels} x {in_channels}"
        )
    depthwise = 1 < old.groups == old.in_channels == old.out_channels
    if depthwise and out_channels != in_channels:
        raise ValueError(f"{name} is depthwise and cannot take {in_channels} and give {out_channels}")
    new = nn.Conv2d(
        in_channels,
        out_channels,
        old.kernel_size,
        old.stride,
        old.padding,
        old.dilation,
        in_channels if depthwise else old.groups,
        bias=old.bias is not None,
    )
    if new.bias is not None and out_channels == old.out_channels:
        with torch.no_grad():  # a fresh head's biases carry what it expects to see
            new.bias.copy_(old.bias)
    return new


def _resized_norm(module: nn.Module, name: str, channels: int) -> nn.BatchNorm2d:
    old: Any = module.get_submodule(name)
    return nn.BatchNorm2d(channels, eps=old.eps, momentum=old.momentum)


def _check_alike(before: ChannelGraph, after: ChannelGraph) -> None:
    """See that only what may change has changed."""
    if before.convolutions != after.convolutions:
        raise ValueError("the widths change what the layers read from one another")
    for number, (old, new) in enumerate(zip(before.groups, after.groups, strict=True)):
        if old.size != new.size and not old.prunable:
            names = chain((one.name for one in before.makers(number)), ["the image"])
            raise ValueError(f"the channels of {next(names)} cannot change, {old.size} to {new.size}")
