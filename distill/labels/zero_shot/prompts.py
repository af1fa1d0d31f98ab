"""Build the prompts of an open-vocabulary detector, and tell which class of the taxonomy each means.

DetCLIPv3's rule (Yao et al., CVPR 2024): an entity is ``phrase | category | parent``, the phrase and the
category are both used as queries, and a box found by either is given all three.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge.core.errors import ConfigError
from edge.core.taxonomy import Taxonomy

SEPARATORS = ".?"
"""Grounding DINO takes these as the end of a phrase, so none may stand within one."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Ask for one thing.

    Attributes:
        text: small letters, without full stop.
        label: class of what it finds; None for what is no defect.
        category: see `distill.labels.sets.annotations.Region`.
        phrase: likewise.
    """

    text: str
    label: str | None = None
    category: str | None = None
    phrase: str | None = None


def prompts_of(taxonomy: Taxonomy, negative: Sequence[str] = ()) -> tuple[Prompt, ...]:
    """Ask for phrase and category of each kind, for classes without kinds by name, and for what is none.

    Words that stand for two kinds belong to the first.

    Raises:
        ConfigError: if a negative prompt is among the taxonomy's words, or nothing is left of one.
    """
    prompts: dict[str, Prompt] = {}
    for kind in taxonomy.kinds:
        for words in (kind.phrase, kind.category):
            _add(prompts, Prompt(_plain(words), kind.parent, kind.category, kind.phrase))
    with_kinds = {kind.parent for kind in taxonomy.kinds}
    for name in taxonomy.classes:
        if name not in with_kinds:
            _add(prompts, Prompt(_plain(name), name))
    for words in negative:
        text = _plain(words)
        if not text or prompts.get(text, Prompt(text)).label is not None:
            raise ConfigError(
                f"The negative prompt '{words}' is a word of the taxonomy, or none at all.",
                "Name what is no defect, for instance 'table edge'.",
            )
        _add(prompts, Prompt(text))
    return tuple(prompts.values())


def in_groups(lengths: Sequence[int], longest: int) -> list[list[int]]:
    """Put prompts, in their order, into as few groups as hold at most so many tokens each.

    Args:
        lengths: tokens of each prompt with its separator, each <= longest.
        longest: tokens of a group.
    Returns:
        Positions of prompts.
    """
    groups: list[list[int]] = []
    used = longest
    for index, length in enumerate(lengths):
        if used + length > longest:
            groups.append([])
            used = 0
        groups[-1].append(index)
        used += length
    return groups


def texts_of(prompts: Iterable[Prompt]) -> list[str]:
    """Return the words of prompts."""
    return [prompt.text for prompt in prompts]


def _add(prompts: dict[str, Prompt], prompt: Prompt) -> None:
    if prompt.text:
        prompts.setdefault(prompt.text, prompt)


def _plain(words: str) -> str:
    """Spell words as the detectors were taught: small letters, single spaces, no separators within."""
    for separator in SEPARATORS:
        words = words.replace(separator, " ")
    return " ".join(words.casefold().split())
