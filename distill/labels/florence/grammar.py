"""Constrain the teacher's text to (name (location x 4)+)*, so that it invents no class.

A model that has learnt its classes says the same with and without the grammar; one that has not is kept
from saying what nobody could read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from distill.labels.florence.loading import LOCATION_TOKENS
from distill.labels.formats.location_tokens import written_label

CORNERS = 4
"""Location tokens of a box: x1, y1, x2, y2."""


@dataclass(slots=True)
class _Node:
    """A place in the tree of the names: which token may come next, and whether a name may end here."""

    children: dict[int, _Node] = field(default_factory=dict)
    is_end: bool = False


@dataclass(frozen=True, slots=True)
class TokenIds:
    """Hold the ids of the tokens that give an answer its form.

    Attributes:
        locations: id of `<loc_0>`, `<loc_1>`, … `<loc_999>`.
        bin_of: the way back.
        words: of all that can be part of a name.
        begin, end, pad: of a text.
    """

    locations: tuple[int, ...]
    bin_of: dict[int, int]
    words: tuple[int, ...]
    begin: int
    end: int
    pad: int

    @classmethod
    def of(cls, tokenizer: Any) -> TokenIds:
        """Look them up in a tokenizer."""
        locations = tuple(tokenizer.convert_tokens_to_ids(list(LOCATION_TOKENS)))
        marks = set(tokenizer.added_tokens_decoder)
        return cls(
            locations,
            {token: number for number, token in enumerate(locations)},
            tuple(token for token in range(len(tokenizer)) if token not in marks),
            tokenizer.bos_token_id,
            tokenizer.eos_token_id,
            tokenizer.pad_token_id,
        )


class BoxGrammar:
    """Tell which tokens may follow a beginning.

    Args:
        ids: of the tokenizer.
        names: as sequences of tokens; None permits any words as a name.
    """

    def __init__(self, ids: TokenIds, names: Sequence[Sequence[int]] | None) -> None:
        self._ids = ids
        self._root = _Node()
        for name in names or ():
            _plant(self._root, name)
        self._locations = torch.tensor(ids.locations)
        self._words = torch.tensor(ids.words) if names is None else None

    def allowed(self, tokens: Sequence[int]) -> Tensor:
        """Return the ids that may follow, (K,) int64, K >= 1.

        Args:
            tokens: all that the decoder has so far, the token that starts it included.
        """
        if len(tokens) == 1:
            return torch.tensor([self._ids.begin])
        said = tokens[2:]
        if said and said[-1] in (self._ids.end, self._ids.pad):
            return torch.tensor([self._ids.pad])
        name_start, boxes_start = self._last_parts(said)
        bins = [self._ids.bin_of[token] for token in said[boxes_start:]]
        if len(bins) % CORNERS:
            return self._next_corner(bins[len(bins) // CORNERS * CORNERS :])
        if bins or not said:
            return self._after_boxes(has_boxes=bool(bins))
        return self._within_name(said[name_start:])

    def _last_parts(self, said: Sequence[int]) -> tuple[int, int]:
        """Return where the last name begins, and where the location tokens behind it do."""
        boxes_start = len(said)
        while boxes_start and said[boxes_start - 1] in self._ids.bin_of:
            boxes_start -= 1
        name_start = boxes_start
        while name_start and said[name_start - 1] not in self._ids.bin_of:
            name_start -= 1
        return name_start, boxes_start

    def _next_corner(self, corners: Sequence[int]) -> Tensor:
        """Permit a bin; the lower right corner may not lie before the upper left."""
        least = corners[len(corners) - 2] if len(corners) >= 2 else 0
        return self._locations[least:]

    def _after_boxes(self, *, has_boxes: bool) -> Tensor:
        """Permit the end, a name, and where there is a box another of the same name."""
        more = [self._locations] if has_boxes else []
        return torch.cat([torch.tensor([self._ids.end]), self._continued(self._root), *more])

    def _within_name(self, name: Sequence[int]) -> Tensor:
        node = self._root
        for token in name if self._words is None else ():
            node = node.children[token]
        is_end = node.is_end or self._words is not None
        return torch.cat([self._continued(node), *([self._locations] if is_end else [])])

    def _continued(self, node: _Node) -> Tensor:
        return torch.tensor(list(node.children), dtype=torch.int64) if self._words is None else self._words


def grammar_of(tokenizer: Any, names: Sequence[str] | None) -> BoxGrammar:
    """Build the grammar of these names; None permits any."""
    spelled = None if names is None else [_spell(tokenizer, name) for name in names]
    return BoxGrammar(TokenIds.of(tokenizer), spelled)


def prefix_function(grammar: BoxGrammar) -> Callable[[int, Tensor], Tensor]:
    """Return the grammar as `generate` takes it: `prefix_allowed_tokens_fn`."""
    return lambda _, tokens: grammar.allowed(tokens.tolist())


def _spell(tokenizer: Any, name: str) -> list[int]:
    return list(tokenizer(written_label(name), add_special_tokens=False)["input_ids"])


def _plant(root: _Node, name: Sequence[int]) -> None:
    node = root
    for token in name:
        node = node.children.setdefault(token, _Node())
    node.is_end = True
