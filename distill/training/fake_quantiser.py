"""Compute in float32 what a detector's INT8 export will compute.

The export quantises the weights of convolutions, all but those that answer or decode, and the maps that
they read: symmetric, to -127 ... 127, per output channel in the weights and per tensor in the maps. Whoever
else reads such a map, a shortcut or the head, reads it rounded, too. Normalisation, which the export folds
into the weights, scales a channel and its step alike, so that rounding before it is the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from distill.detector.build import traceable_copy
from distill.detector.head import head_of

LEAST, GREATEST = -127, 127
SMALLEST_STEP = 1e-30
"""Of a channel whose weights are all 0."""

TRIED_SIDE_PX = 64
"""Of the image that shows which layer reads what."""


@dataclass(frozen=True, slots=True, eq=False)
class Rounding:
    """Say what of a detector is rounded, and how far its maps reach.

    Attributes:
        convolutions: names of those whose weights are rounded.
        given: names of the modules whose output they read: it is rounded for all who read it.
        read: names of the convolutions whose input is the image, or is made between modules.
        ranges: greatest value of each map of `given` and `read`; not a number until a batch was seen. It is
            changed in place, so that detectors of one structure may share it.
        range_share: see `distill.settings.tables.FakeQuantisation`.
    """

    convolutions: tuple[str, ...]
    given: tuple[str, ...]
    read: tuple[str, ...]
    ranges: Tensor
    range_share: float


def rounding_of(detector: nn.Module, range_share: float) -> Rounding:
    """Find out what is to be rounded.

    Args:
        detector: of `build_module`; it is left as it is.
    """
    copy = traceable_copy(detector)
    names = {layer: name for name, layer in copy.named_modules()}
    convolutions = quantised_convolutions(copy)
    sources, read = _sources(copy, set(convolutions.values()))
    given = tuple(dict.fromkeys(names[source] for source in sources))
    first = next(iter(detector.parameters()))
    ranges = torch.full((len(given) + len(read),), math.nan, device=first.device)
    return Rounding(tuple(convolutions), given, tuple(names[layer] for layer in read), ranges, range_share)


class FakeQuantised(nn.Module):
    """Run a detector with rounded weights and maps; its own weights stay and get the gradients.

    Gradients pass straight through, but not for values beyond their range. In training mode the ranges
    follow the batches.

    Args:
        detector: of the structure that `rounding` was found for.
    """

    def __init__(self, detector: nn.Module, rounding: Rounding) -> None:
        super().__init__()
        self.detector = detector
        self._rounding = rounding

    def forward(self, images: Tensor) -> Any:
        weights = {
            f"{name}.weight": rounded_weights(self.detector.get_parameter(f"{name}.weight"))
            for name in self._rounding.convolutions
        }
        with self._rounding_maps():
            return functional_call(self.detector, weights, (images,))

    @contextmanager
    def _rounding_maps(self) -> Iterator[None]:
        given, read = self._rounding.given, self._rounding.read
        with ExitStack() as stack:
            for number, name in enumerate(given):
                hook = partial(self._rounded_output, number)
                stack.callback(self.detector.get_submodule(name).register_forward_hook(hook).remove)
            for number, name in enumerate(read, start=len(given)):
                hook = partial(self._rounded_input, number)
                stack.callback(self.detector.get_submodule(name).register_forward_pre_hook(hook).remove)
            yield

    def _rounded_output(
        self, number: int, layer: nn.Module, _inputs: tuple[Any, ...], output: Tensor
    ) -> Tensor:
        return self._rounded(number, output, follow=layer.training)

    def _rounded_input(self, number: int, layer: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        return self._rounded(number, inputs[0], follow=layer.training)

    def _rounded(self, number: int, given: Tensor, *, follow: bool) -> Tensor:
        values, ranges = given.float(), self._rounding.ranges
        if follow:
            self._follow(number, values.detach().abs().amax())
        elif ranges[number].isnan():  # no batch was seen yet
            return given
        step = (ranges[number] / GREATEST).clamp(min=SMALLEST_STEP)
        zero = torch.zeros_like(step, dtype=torch.int32)
        return torch.fake_quantize_per_tensor_affine(values, step, zero, LEAST, GREATEST).to(given.dtype)

    def _follow(self, number: int, greatest: Tensor) -> None:
        before = self._rounding.ranges[number]
        known = torch.lerp(before, greatest, self._rounding.range_share)
        self._rounding.ranges[number] = torch.where(before.isnan(), greatest, known)


def quantised_convolutions(detector: nn.Module) -> dict[str, nn.Conv2d]:
    """Return the convolutions that `export` quantises, by name: all but those that answer or decode."""
    answer = head_of(detector).answering()
    return {
        name: layer
        for name, layer in detector.named_modules()
        if isinstance(layer, nn.Conv2d) and layer not in answer
    }


def rounded_weights(weights: Tensor) -> Tensor:
    """Round weights (channels, ...) per channel to 8 bits; gradients pass."""
    greatest = weights.detach().float().abs().flatten(1).amax(dim=1)
    steps = (greatest / GREATEST).clamp(min=SMALLEST_STEP)
    zeros = torch.zeros_like(steps, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weights.float(), steps, zeros, 0, LEAST, GREATEST)


def _sources(detector: nn.Module, convolutions: set[nn.Conv2d]) -> tuple[list[nn.Module], list[nn.Conv2d]]:
    """Run a detector once; return the modules that give these convolutions what they read, and the
    convolutions that read what no module gave.

    Of modules that pass on one map the innermost counts, unless it runs more than once: activations are one
    object for all layers.
    """
    runs: Counter[nn.Module] = Counter()
    outputs: list[tuple[Tensor, nn.Module]] = []  # holds every map, so that none takes another's place
    inputs: list[tuple[Tensor, nn.Conv2d]] = []

    def note(layer: nn.Module, entering: tuple[Any, ...], output: Any) -> None:
        runs[layer] += 1
        if isinstance(output, Tensor):
            outputs.append((output, layer))
        if isinstance(layer, nn.Conv2d) and layer in convolutions:
            inputs.append((entering[0], layer))

    for layer in detector.modules():
        layer.register_forward_hook(note)
    channels = next(layer.in_channels for layer in detector.modules() if isinstance(layer, nn.Conv2d))
    first = next(iter(detector.parameters()))
    with torch.no_grad():
        detector(torch.zeros(1, channels, TRIED_SIDE_PX, TRIED_SIDE_PX, device=first.device))
    sources, read = [], []
    for value, layer in inputs:
        source = next((one for given, one in outputs if given is value and runs[one] == 1), None)
        if source is None:
            read.append(layer)
        else:
            sources.append(source)
    return sources, read
