"""Write sentences about an image of cloth from its regions, to teach captions with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from distill.labels.sets.annotations import AnnotatedImage, Region
from distill.labels.sets.naming import class_of, kind_of
from edge.core.taxonomy import Taxonomy

CLEAN = "Woven cloth without a defect."
THIRDS_DOWN, THIRDS_ACROSS = ("upper", "middle", "lower"), ("left", "centre", "right")


def short_caption(image: AnnotatedImage, taxonomy: Taxonomy) -> str:
    """Name what is there: ``Woven cloth with 2 stains and a hole.``"""
    counts = Counter(_short_name(region, taxonomy) for region in image.regions)
    if not counts:
        return CLEAN
    return f"Woven cloth with {_listed(_counted(name, number) for name, number in counts.items())}."


def detailed_caption(image: AnnotatedImage, taxonomy: Taxonomy) -> str:
    """Describe what is there, one sentence per kind of defect."""
    phrases = dict.fromkeys(_phrase(region, taxonomy) for region in image.regions)
    if not phrases:
        return CLEAN
    return " ".join([short_caption(image, taxonomy), *(_sentence(phrase) for phrase in phrases)])


def more_detailed_caption(image: AnnotatedImage, taxonomy: Taxonomy) -> str:
    """Describe each defect and say whereabouts in the image it is."""
    if not image.regions:
        return CLEAN
    sentences = [
        _sentence(f"{_whereabouts(region, image.size_hw_px)}, {_phrase(region, taxonomy)}")
        for region in image.regions
    ]
    return " ".join([short_caption(image, taxonomy), *sentences])


def _short_name(region: Region, taxonomy: Taxonomy) -> str:
    kind = kind_of(region, taxonomy)
    return kind.category if kind else region.category or class_of(region, taxonomy)


def _phrase(region: Region, taxonomy: Taxonomy) -> str:
    kind = kind_of(region, taxonomy)
    name = _short_name(region, taxonomy)
    return region.phrase or (kind.phrase if kind else _counted(name, 1))


def _whereabouts(region: Region, size_hw_px: tuple[int, int]) -> str:
    """Say in which ninth of the image the middle of a region lies: ``at the upper left``."""
    x1, y1, x2, y2 = region.box_xyxy_px
    row = min(2, max(0, int(1.5 * (y1 + y2) / size_hw_px[0])))
    column = min(2, max(0, int(1.5 * (x1 + x2) / size_hw_px[1])))
    return f"at the {THIRDS_DOWN[row]} {THIRDS_ACROSS[column]}"


def _counted(name: str, number: int) -> str:
    if number > 1:
        return f"{number} {name}s"
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _listed(words: Iterable[str]) -> str:
    parts: Sequence[str] = list(words)
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."
