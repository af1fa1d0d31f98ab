"""Order the images of a review: those with the lowest confidence of the annotators first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from distill.labels.sets.annotations import AGREED, AnnotatedImage, Region, ReviewState

Wanted = Literal["queued", "all"]

TOSS_UP = 0.5
"""A calibrated score says nothing at all here."""

Hardness = tuple[float, int]
"""The smaller, the harder: distance of the score from `TOSS_UP`, then how many annotators agreed."""


def hardness(region: Region) -> Hardness:
    """Return how hard a region is to judge; one without a score was made by hand and is the easiest."""
    distance = TOSS_UP if region.score is None else abs(region.score - TOSS_UP)
    return distance, len(found_by(region))


def found_by(region: Region) -> list[str]:
    """Return the names of all that found a region."""
    return region.annotator.split(AGREED) if region.annotator else []


def hardest_first(images: Iterable[AnnotatedImage], wanted: Wanted) -> list[str]:
    """Return file names: by the hardest queued region, then by the hardest unreviewed one, then the rest.

    Args:
        images: of a label set.
        wanted: ``queued`` leaves out images in which nothing is queued.
    """
    ranked = sorted((*_rank(image), image.file_name) for image in images)
    return [name for rank, _, name in ranked if rank == 0 or wanted == "all"]


def regions_in_order(image: AnnotatedImage) -> list[int]:
    """Return the places of an image's regions, the hardest first, whatever was decided on them."""
    return sorted(range(len(image.regions)), key=lambda place: (hardness(image.regions[place]), place))


def _rank(image: AnnotatedImage) -> tuple[int, Hardness]:
    states: tuple[ReviewState, ...] = ("queued", "unreviewed")
    for rank, state in enumerate(states):
        found = [hardness(region) for region in image.regions if region.review == state]
        if found:
            return rank, min(found)
    return len(states), (TOSS_UP, 0)
