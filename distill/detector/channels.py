"""Group the channels of a detector that have to be removed together; nothing is changed here.

Every convolution makes a group of channels. A sum ties two groups into one: all bottlenecks of a C3 with
shortcuts share the group of its first convolution. A depthwise convolution makes none, it hands on those it
reads. What a convolution reads is groups one behind the other, because Concat, C3 and SPPF join maps whole.

Written from the forward passes of ultralytics' Conv, Bottleneck, C3, SPPF and Concat; a head describes its
own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from distill.detector.head import head_of
from distill.ultralytics_door import C3, SPPF, Bottleneck, Concat, Conv

Groups = tuple[int, ...]
"""Numbers of groups whose channels follow one another in a map."""


@dataclass(frozen=True, slots=True)
class Group:
    """Describe channels of which the same ones are kept everywhere.

    Attributes:
        size: how many.
        prunable: False for the image, what the head says, and grouped convolutions.
    """

    size: int
    prunable: bool


@dataclass(frozen=True, slots=True)
class Convolution:
    """Describe a convolution.

    Attributes:
        name: in the detector, for instance `model.2.cv1.conv`.
        inputs, outputs: groups of its input and output channels.
        norm: name of the batch norm behind it; None without one.
        depthwise: one filter for each channel.
    """

    name: str
    inputs: Groups
    outputs: Groups
    norm: str | None
    depthwise: bool


@dataclass(frozen=True, slots=True)
class ChannelGraph:
    """Describe the channels of a detector; convolutions in the order of the forward pass."""

    groups: tuple[Group, ...]
    convolutions: tuple[Convolution, ...]

    @property
    def prunable(self) -> tuple[Convolution, ...]:
        """Return the convolutions of which an output channel can go."""
        return tuple(
            one for one in self.convolutions if any(self.groups[group].prunable for group in one.outputs)
        )

    def makers(self, group: int) -> tuple[Convolution, ...]:
        """Return the convolutions whose output holds a group, depthwise ones too."""
        return tuple(one for one in self.convolutions if group in one.outputs)


def channel_graph(module: nn.Module) -> ChannelGraph:
    """Describe the channels of a detector of `build_module`.

    Raises:
        ValueError: if a layer's channels are not those of the layers it reads, or a layer is of a kind that
            is not described here.
    """
    walk = Walk()
    maps: list[Groups] = []
    layers: Any = module.model
    for number, layer in enumerate(layers):
        sources = [layer.f] if isinstance(layer.f, int) else layer.f
        entering = [maps[source] if number else walk.image(module) for source in sources]
        if number < len(layers) - 1:
            maps.append(walk.follow(f"model.{number}", layer, entering))
        else:
            head_of(module).channels(walk, f"model.{number}", entering)
    return walk.graph()


class Walk:
    """Gather groups and convolutions along the forward pass."""

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._tied_to: list[int] = []
        self._kept_whole: set[int] = set()
        self._convolutions: list[Convolution] = []

    def image(self, module: nn.Module) -> Groups:
        """Return the group of the colours that the first convolution reads."""
        first = next(layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
        return self.keep_whole(self._new_group(first.in_channels))

    def convolution(self, name: str, layer: nn.Conv2d, entering: Groups, norm: str | None = None) -> Groups:
        """Note a convolution and return what it makes."""
        reads = sum(self._sizes[group] for group in entering)
        if reads != layer.in_channels:
            raise ValueError(f"{name} takes {layer.in_channels} channels and gets {reads}")
        depthwise = layer.groups == layer.in_channels == layer.out_channels and layer.groups > 1
        leaving = entering if depthwise else self._new_group(layer.out_channels)
        if layer.groups > 1 and not depthwise:
            self.keep_whole(entering)
            self.keep_whole(leaving)
        self._convolutions.append(Convolution(name, entering, leaving, norm, depthwise))
        return leaving

    def follow(self, name: str, layer: nn.Module, entering: Sequence[Groups]) -> Groups:
        """Follow maps through a layer and return what it makes."""
        for kind, rule in _RULES.items():
            if isinstance(layer, kind):
                return rule(self, name, layer, entering)
        raise ValueError(f"{name} is a {type(layer).__name__}, whose channels nobody described")

    def add(self, name: str, a: Groups, b: Groups) -> Groups:
        """Tie the groups of two maps that are added."""
        if sum(self._sizes[g] for g in a) != sum(self._sizes[g] for g in b):
            raise ValueError(f"{name} adds maps of different channels")
        if len(a) == len(b) == 1:
            self._tied_to[self._first(b[0])] = self._first(a[0])
        elif a != b:  # groups that overlap in part: rare enough to leave alone
            self.keep_whole(a)
            self.keep_whole(b)
        return a

    def keep_whole(self, groups: Groups) -> Groups:
        """Note that no channel of some groups may go."""
        self._kept_whole.update(groups)
        return groups

    def graph(self) -> ChannelGraph:
        """Return what was gathered, groups numbered again."""
        firsts = sorted({self._first(group) for group in range(len(self._sizes))})
        whole = {self._first(group) for group in self._kept_whole}
        groups = tuple(Group(self._sizes[first], first not in whole) for first in firsts)
        number = {first: position for position, first in enumerate(firsts)}

        def renumbered(old: Groups) -> Groups:
            return tuple(number[self._first(group)] for group in old)

        return ChannelGraph(
            groups,
            tuple(
                Convolution(
                    one.name, renumbered(one.inputs), renumbered(one.outputs), one.norm, one.depthwise
                )
                for one in self._convolutions
            ),
        )

    def _new_group(self, size: int) -> Groups:
        self._sizes.append(size)
        self._tied_to.append(len(self._tied_to))
        return (len(self._sizes) - 1,)

    def _first(self, group: int) -> int:
        while self._tied_to[group] != group:
            group = self._tied_to[group]
        return group


def _conv2d(walk: Walk, name: str, layer: Any, entering: Sequence[Groups]) -> Groups:
    return walk.convolution(name, layer, entering[0])


def _conv(walk: Walk, name: str, layer: Any, entering: Sequence[Groups]) -> Groups:
    norm = f"{name}.bn" if isinstance(layer.bn, nn.BatchNorm2d) else None
    return walk.convolution(f"{name}.conv", layer.conv, entering[0], norm)


def _sequence(walk: Walk, name: str, layer: Any, entering: Sequence[Groups]) -> Groups:
    groups = entering[0]
    for number, part in enumerate(layer):
        groups = walk.follow(f"{name}.{number}", part, [groups])
    return groups


def _bottleneck(walk: Walk, name: str, layer: Any, entering: Sequence[Groups]) -> Groups:
    inner = _conv(walk, f"{name}.cv1", layer.cv1, entering)
    leaving = _conv(walk, f"{name}.cv2", layer.cv2, [inner])
    return walk.add(name, entering[0], leaving) if layer.add else leaving


def _c3(walk: Walk, name: str, layer: Any, entering: Sequence[Groups]) -> Groups:
    through = _sequence(walk, f"{name}.m", layer.m, [_conv(walk, f"{name}.cv1", layer.cv1, entering)])
    around = _conv(walk, f"{name}.cv2", layer.cv2, entering)
    return _conv(walk, f"{name}.cv3", layer.cv3, [through + around])


def _sppf(walk: Walk, name: str, layer: Any, entering: Sequence[Groups]) -> Groups:
    pooled = _conv(walk, f"{name}.cv1", layer.cv1, entering) * (layer.n + 1)
    leaving = _conv(walk, f"{name}.cv2", layer.cv2, [pooled])
    return walk.add(name, entering[0], leaving) if layer.add else leaving


def _upsample(_walk: Walk, _name: str, _layer: Any, entering: Sequence[Groups]) -> Groups:
    return entering[0]


def _concat(_walk: Walk, name: str, layer: Any, entering: Sequence[Groups]) -> Groups:
    if layer.d != 1:
        raise ValueError(f"{name} joins maps along axis {layer.d}, not along their channels")
    return tuple(group for groups in entering for group in groups)


_RULES: dict[type[nn.Module], Callable[[Walk, str, Any, Sequence[Groups]], Groups]] = {
    nn.Conv2d: _conv2d,
    Conv: _conv,
    nn.Sequential: _sequence,
    Bottleneck: _bottleneck,
    C3: _c3,
    SPPF: _sppf,
    nn.Upsample: _upsample,
    Concat: _concat,
}
