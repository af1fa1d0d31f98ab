"""Define the methods that every head has: its outputs, channels, answering layers and raw ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from torch import Tensor, nn

from distill.detector.decoupled_head import DecoupledHead
from distill.detector.outputs import HeadOutputs
from distill.ultralytics_door import Detect
from edge.core.contract import RawOutputs

if TYPE_CHECKING:
    from distill.detector.channels import Groups, Walk


class Head(Protocol):
    """Answer for one kind of head; a new one has these methods, and its line in `HEAD_PARTS`."""

    def outputs(self, predictions: Mapping[str, Any]) -> HeadOutputs:
        """Read what the head gave in training mode; in eval mode, the second it gives."""

    def channels(self, walk: Walk, name: str, entering: Sequence[Groups]) -> None:
        """Follow the channels of the neck's maps through the head; its outputs are kept whole."""

    def answering(self) -> set[nn.Module]:
        """Return the convolutions that answer or decode: they are never computed in fewer bits."""

    def raw_outputs(self) -> RawOutputs:
        """Name the ports of a graph that ends in the head.

        Raises:
            ConfigError: if the head is one that only its own graph decodes.
        """

    def raw_maps(self, number: int, features: Tensor) -> tuple[Tensor, ...]:
        """Return what the last convolutions of a level give, in the order of `raw_outputs`."""


def wrapped(head: nn.Module) -> Head:
    """Return a head with these methods: ultralytics' own has none of them."""
    return DecoupledHead(head) if isinstance(head, Detect) else cast(Head, head)


def head_of(module: nn.Module) -> Head:
    """Return the head of a detector of `build_module`."""
    return wrapped(module.model[-1])  # type: ignore[index, arg-type]


def head_outputs(module: nn.Module, predictions: Mapping[str, Any]) -> HeadOutputs:
    """Read what a detector gave; see `Head.outputs`."""
    return head_of(module).outputs(predictions)
