"""Name regions: the one place where words of people, files and annotators meet the taxonomy.

The rule is DetCLIPv3's (Yao et al., CVPR 2024): a name is ``phrase | category | parent``, and a match of
the phrase or the category gives the whole triple. A word that is a class and a category, such as
``wrinkle``, is the class where it stands as the label. Capitals, spaces and a full stop do not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from distill.labels.sets.annotations import AnnotatedImage, LabelSet, Region, ReviewState
from distill.labels.sets.problems import Problems
from edge.core.detections import UNCLASSIFIED
from edge.core.taxonomy import DefectKind, Taxonomy

LEVELS = " | "
"""Between the levels of a name."""

NAMES_OF_NO_DEFECT = frozenset(
    {"clean", "good", "ok", "normal", "background", "no defect", "no defects", "defect free", "none"}
)
"""What people call an image that shows nothing, as the tag of a whole image."""


class Namer:
    """Give regions of an annotator their class, category and phrase, or refuse them.

    Args:
        taxonomy: of the mill.
        blacklist: a region whose words contain one of these is refused, for instance ``table``.
    """

    def __init__(self, taxonomy: Taxonomy, blacklist: Iterable[str] = ()) -> None:
        self._taxonomy = taxonomy
        self._blacklist = tuple(_plain(words) for words in blacklist)

    def named(self, region: Region) -> Region | None:
        """Return the region with the taxonomy's names; None if it has no place there or is blacklisted."""
        said = [_plain(text) for text in (region.category, region.phrase, region.label) if text]
        if any(black in text for text in said for black in self._blacklist):
            return None
        kind = kind_of(region, self._taxonomy)
        if kind is not None:
            return replace(region, label=kind.parent, category=kind.category, phrase=kind.phrase)
        classes = _words_of(self._taxonomy).classes
        label = next((classes[text] for text in said if text in classes), None)
        return None if label is None else replace(region, label=label)


def named_by(label_set: LabelSet, taxonomy: Taxonomy) -> LabelSet:
    """Give every region of files its names; a class and a phrase that people chose stay.

    What the taxonomy does not have is a problem: a region with an unknown label counts as not read, unless
    a person rejected it; an unknown category or one of another class is dropped. An `unclassified` region
    waits for a person, whatever its file says of it.

    Returns:
        The set with the taxonomy's classes in the taxonomy's order.
    """
    problems = Problems(label_set.problems, label_set.notes)
    words = _words_of(taxonomy)
    images = tuple(_named_image(image, words, problems) for image in label_set.images)
    return replace(label_set, class_names=taxonomy.classes, images=images, problems=problems.by_file())


def _named_image(image: AnnotatedImage, words: _Words, problems: Problems) -> AnnotatedImage:
    if not image.regions and not image.said_of_whole:
        return image
    regions, unread = [], image.unread
    for region in image.regions:
        if _plain(region.label) == UNCLASSIFIED and UNCLASSIFIED not in words.classes:
            regions.append(_waiting(region))
            continue
        named = _as_chosen(region, words)
        if named is None:
            known = ", ".join(words.classes.values())
            problems.add(image.file_name, f"'{region.label}' is not in the taxonomy ({known})")
            unread += region.review != "rejected"  # a person said that nothing is there
            continue
        if region.category and not _is_kind_of(region.category, named.label, words):
            problems.add(image.file_name, f"'{region.category}' is no kind of '{named.label}'")
        regions.append(named)
    for name in _not_placed(image.said_of_whole, regions, words):
        problems.add(image.file_name, f"'{name}' is said of the whole image and of no place in it")
        unread += 1
    return replace(image, regions=tuple(regions), unread=unread, said_of_whole=())


def _waiting(region: Region) -> Region:
    review: ReviewState = "rejected" if region.review == "rejected" else "queued"
    return replace(region, label=UNCLASSIFIED, category=None, phrase=None, review=review)


def _not_placed(names: Iterable[str], regions: list[Region], words: _Words) -> Iterator[str]:
    """Yield the names of a whole image that no region explains.

    A name that the taxonomy lacks matters only where there is no region at all: it may be a defect.
    """
    placed = {region.label for region in regions}
    for name in names:
        plain = _plain(name)
        kind = words.kinds.get(plain)
        label = words.classes.get(plain) or (kind.parent if kind else None)
        if label not in placed if label else not placed and plain not in NAMES_OF_NO_DEFECT:
            yield name


def kind_of(region: Region, taxonomy: Taxonomy) -> DefectKind | None:
    """Return the kind of the taxonomy that a region is of; None if its words do not say."""
    return _kind_of(region, _words_of(taxonomy))


def _kind_of(region: Region, words: _Words) -> DefectKind | None:
    said = [_plain(text) for text in (region.category, region.phrase) if text]
    label = _plain(region.label)
    said += [] if label in words.classes else [label]
    return next((words.kinds[text] for text in said if text in words.kinds), None)


def class_of(region: Region, taxonomy: Taxonomy) -> str:
    """Return the class of a region; its own label where the taxonomy does not know it."""
    classes = _words_of(taxonomy).classes
    if _plain(region.label) in classes:
        return classes[_plain(region.label)]
    kind = kind_of(region, taxonomy)
    return kind.parent if kind else region.label


def full_name(region: Region, taxonomy: Taxonomy) -> str:
    """Return what is known of ``phrase | category | parent``, from the region or the taxonomy."""
    kind = kind_of(region, taxonomy)
    levels = (
        region.phrase or (kind.phrase if kind else None),
        region.category or (kind.category if kind else None),
        class_of(region, taxonomy),
    )
    return LEVELS.join(level for level in levels if level)


def names_from_text(text: str, taxonomy: Taxonomy) -> tuple[str, str | None, str | None]:
    """Read a name as the teacher wrote it.

    A name of three levels is taken as it is; a single one is looked up, and what is not found there stays
    as it is: a defect that nobody has listed yet.

    Returns:
        Label, category, phrase.
    """
    levels = [level.strip() for level in text.split("|") if level.strip()]
    if len(levels) >= 3:
        return levels[-1], levels[-2], LEVELS.join(levels[:-2])
    words = _words_of(taxonomy)
    first = levels[0] if levels else ""
    kind = words.kinds.get(_plain(first))
    if len(levels) == 2:
        return levels[1], first, kind.phrase if kind else None
    if _plain(first) in words.classes:
        return words.classes[_plain(first)], None, None
    return (kind.parent, kind.category, kind.phrase) if kind else (first, None, None)


@dataclass(frozen=True, slots=True)
class _Words:
    """Look names up by their plain spelling: classes, and kinds by phrase, category and full name."""

    classes: dict[str, str]
    kinds: dict[str, DefectKind]


@lru_cache(maxsize=8)
def _words_of(taxonomy: Taxonomy) -> _Words:
    kinds: dict[str, DefectKind] = {}
    for level in (lambda kind: kind.category, lambda kind: kind.phrase, str):
        for kind in taxonomy.kinds:
            kinds.setdefault(_plain(level(kind)), kind)
    return _Words({_plain(name): name for name in taxonomy.classes}, kinds)


def _as_chosen(region: Region, words: _Words) -> Region | None:
    """Assign the names, but let the label that was chosen overrule all else; None if nobody knows it."""
    label = words.classes.get(_plain(region.label))
    kind = _kind_of(region, words) if label else words.kinds.get(_plain(region.label))
    if kind is not None and kind.parent == (label or kind.parent):
        phrase = region.phrase or kind.phrase
        return replace(region, label=kind.parent, category=kind.category, phrase=phrase)
    return replace(region, label=label, category=None) if label else None


def _is_kind_of(category: str, label: str, words: _Words) -> bool:
    kind = words.kinds.get(_plain(category))
    return kind is not None and kind.parent == label


def _plain(words: str) -> str:
    """Spell words in one way: small letters, single spaces, no full stop."""
    return " ".join(words.casefold().split()).strip(" .")
