"""What files call a defect, brought to the names of a taxonomy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from distill.labels.annotations import LabelSet, Region
from distill.labels.problems import Problems
from edge.taxonomy import DefectKind, Taxonomy


def named_by(label_set: LabelSet, taxonomy: Taxonomy) -> LabelSet:
    """Give every region its class, and its phrase where the category is known.

    A label may be a class, a category, a phrase or ``phrase | category | class``; case and spaces do not
    matter. What the taxonomy does not have is a problem: an unknown label leaves the region out, an unknown
    category or one of another class is dropped.

    Returns:
        The set with the taxonomy's classes in the taxonomy's order.
    """
    problems = Problems(label_set.problems)
    kinds = _kinds_by_name(taxonomy)
    classes = {_plain(name): name for name in taxonomy.classes}
    images = []
    for image in label_set.images:
        regions = []
        for region in image.regions:
            named = _named(region, classes, kinds)
            if named is None:
                known = ", ".join(taxonomy.classes)
                problems.add(image.file_name, f"'{region.label}' is not in the taxonomy ({known})")
                continue
            if region.category and not named.category:
                problems.add(image.file_name, f"'{region.category}' is no kind of '{named.label}'")
            regions.append(named)
        images.append(replace(image, regions=tuple(regions)))
    return replace(
        label_set, class_names=taxonomy.classes, images=tuple(images), problems=problems.by_file()
    )


def _named(region: Region, classes: Mapping[str, str], kinds: Mapping[str, DefectKind]) -> Region | None:
    label = _plain(region.label)
    if label in classes:
        kind = kinds.get(_plain(region.category or ""))
        if kind is None or kind.parent != classes[label]:
            return replace(region, label=classes[label], category=None)
        phrase = region.phrase or kind.phrase
        return replace(region, label=kind.parent, category=kind.category, phrase=phrase)
    kind = kinds.get(label)
    if kind is None:
        return None
    return replace(region, label=kind.parent, category=kind.category, phrase=region.phrase or kind.phrase)


def _kinds_by_name(taxonomy: Taxonomy) -> dict[str, DefectKind]:
    return {
        _plain(name): kind
        for kind in taxonomy.kinds
        for name in (kind.phrase, str(kind), kind.category)
    }  # fmt: skip


def _plain(name: str) -> str:
    """Spell a name in one way: small letters, single spaces."""
    return " ".join(name.casefold().split())
