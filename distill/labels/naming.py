"""From the words an annotator uses to the taxonomy: a match on any level gives the whole triple.

The rule is DetCLIPv3's (Yao et al., CVPR 2024): an entity is ``phrase | category | parent``, the phrase and
the category are both used as queries, and a box found by either is given all three.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from distill.labels.annotations import Region
from edge.taxonomy import DefectKind, Taxonomy


class Namer:
    """Give regions their class, category and phrase, or refuse them.

    Args:
        taxonomy: of the mill.
        blacklist: a region whose words contain one of these is refused, for instance ``table``.
    """

    def __init__(self, taxonomy: Taxonomy, blacklist: Iterable[str] = ()) -> None:
        self._classes = {_plain(name): name for name in taxonomy.classes}
        self._kinds: dict[str, DefectKind] = {}
        for kind in taxonomy.kinds:
            for words in (str(kind), kind.phrase, kind.category):
                self._kinds.setdefault(_plain(words), kind)
        self._blacklist = tuple(_plain(words) for words in blacklist)

    def named(self, region: Region) -> Region | None:
        """Return the region with the taxonomy's names; None if it has no place there or is blacklisted."""
        words = [_plain(text) for text in (region.category, region.phrase, region.label) if text]
        if any(black in text for text in words for black in self._blacklist):
            return None
        kind = next((self._kinds[text] for text in words if text in self._kinds), None)
        if kind is not None:
            return replace(region, label=kind.parent, category=kind.category, phrase=kind.phrase)
        class_name = next((self._classes[text] for text in words if text in self._classes), None)
        return None if class_name is None else replace(region, label=class_name)


def _plain(words: str) -> str:
    """Spell words in one way: small letters, single spaces, no full stop."""
    return " ".join(words.casefold().split()).strip(" .")
