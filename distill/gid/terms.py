"""The terms of each method of distillation, and all of them together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import Tensor, nn

from distill.gid.baseline import UltralyticsTerm
from distill.gid.batch_outputs import BatchOutputs
from distill.gid.feature import FeatureTerm
from distill.gid.relation import RelationTerm
from distill.gid.response import BoxTerm, ClassTerm, ObjectnessTerm
from distill.gid.term import Heads, Seen, Term

METHODS: Final[Mapping[str, tuple[type[Term], ...]]] = {
    "gid": (FeatureTerm, RelationTerm, ClassTerm, ObjectnessTerm, BoxTerm),
    "ultralytics": (UltralyticsTerm,),
}
"""A term more: a class in a file of its own, named here, and its weight in `Distillation`."""


class Terms:
    """Compute the terms of a method that have a weight above 0.

    Args:
        heads: for whom.
    Raises:
        ConfigError: if the two heads cannot be compared as the settings ask.
    """

    def __init__(self, heads: Heads) -> None:
        self._heads = heads
        settings = heads.settings
        weighted = [term for term in METHODS[settings.method] if getattr(settings, term.weight)]
        self._terms = [term(heads) for term in weighted]
        self.weights = {term.name: float(getattr(settings, term.weight)) for term in weighted}
        modules = [term.adapters for term in self._terms if term.adapters is not None]
        self.adapters: nn.Module = modules[0] if len(modules) == 1 else nn.ModuleList(modules)

    def of(self, outputs: BatchOutputs) -> dict[str, Tensor]:
        """Return the losses by name, each a scalar without its weight."""
        seen = self.seen(outputs)
        losses = {term.name: term.loss(seen) for term in self._terms}
        return {name: loss for name, loss in losses.items() if loss is not None}

    def seen(self, outputs: BatchOutputs) -> Seen:
        """Return a batch with what terms need of it."""
        return Seen(outputs, self._heads)
