"""The names of a region on three levels, as the teacher writes them: phrase | category | parent."""

from __future__ import annotations

from distill.labels.annotations import Region
from edge.taxonomy import DefectKind, Taxonomy

LEVELS = " | "
"""Between the levels of a name (DetCLIPv3, Yao et al. 2024, section 3.1)."""


def kind_of(region: Region, taxonomy: Taxonomy) -> DefectKind | None:
    """Return the kind of the taxonomy that a region is of; None if its labels do not say."""
    known = {kind.category: kind for kind in taxonomy.kinds}
    if region.category in known:
        return known[region.category]
    # `wrinkle` is a class and a category: as a label it is the class.
    if region.label in known and region.label not in taxonomy.classes:
        return known[region.label]
    return next((kind for kind in taxonomy.kinds if kind.phrase == region.phrase), None)


def class_of(region: Region, taxonomy: Taxonomy) -> str:
    """Return the class of a region; its own label where the taxonomy does not know it."""
    if region.label in taxonomy.classes:
        return region.label
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

    A name of three levels is taken as it is; a single one is looked up among classes, categories and
    phrases, and what is not found there stays as it is: a defect that nobody has listed yet.

    Returns:
        Label, category, phrase.
    """
    levels = [level.strip() for level in text.split("|") if level.strip()]
    if len(levels) >= 3:
        return levels[-1], levels[-2], LEVELS.join(levels[:-2])
    if len(levels) == 2:
        return levels[1], levels[0], _phrase_of(levels[0], taxonomy)
    name = levels[0] if levels else ""
    if name in taxonomy.classes:
        return name, None, None
    kind = next((kind for kind in taxonomy.kinds if name in (kind.category, kind.phrase)), None)
    return (kind.parent, kind.category, kind.phrase) if kind else (name, None, None)


def _phrase_of(category: str, taxonomy: Taxonomy) -> str | None:
    return next((kind.phrase for kind in taxonomy.kinds if kind.category == category), None)
