"""Apply a person's decisions about regions to a label set.

A decision names a region by its place in the list of its image and holds it whole, before and after.
So decisions can be applied any number of times, from any state between the first and the last of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from distill.labels.formats.yolo_rows import SAME_BOX_PX
from distill.labels.sets.annotations import LabelSet, Region

Action = Literal["accept", "reject", "relabel", "redraw", "add", "undo"]


@dataclass(frozen=True, slots=True)
class ReviewDecision:
    """Hold a person's decision about one region.

    Attributes:
        number: from 1, through all decisions on a data set.
        image_name: file name, as in the label set.
        action: what was done.
        place: of the region in its image, from 0.
        was: the region before; None for one that was added.
        now: the region after; None if an added one is taken back.
        base: all regions of the image before, on the first decision since its files were last written.
        undoes: number of the decision that this one takes back.
        by: name of the person; None where nobody gave one.
    """

    number: int
    image_name: str
    action: Action
    place: int
    was: Region | None
    now: Region | None
    base: tuple[Region, ...] | None = None
    undoes: int | None = None
    by: str | None = None


def apply_reviews(label_set: LabelSet, decisions: Iterable[ReviewDecision]) -> LabelSet:
    """Return a label set as it is after some decisions.

    Args:
        label_set: as it was before the first of them, or after any number of them.
        decisions: by number; those on images that the set does not have are skipped.
    """
    regions = {image.file_name: image.regions for image in label_set.images}
    for decision in decisions:
        if decision.image_name in regions:
            regions[decision.image_name] = applied(regions[decision.image_name], decision)
    images = tuple(replace(image, regions=regions[image.file_name]) for image in label_set.images)
    return replace(label_set, images=images)


def applied(regions: tuple[Region, ...], decision: ReviewDecision) -> tuple[Region, ...]:
    """Return the regions of an image after one decision; one taken back ends the list where it stood."""
    held = regions if decision.base is None else decision.base
    before, behind = held[: decision.place], held[decision.place + 1 :]
    return before if decision.now is None else (*before, decision.now, *behind)


def not_undone(decisions: Iterable[ReviewDecision]) -> list[ReviewDecision]:
    """Return the decisions that can be taken back, the next one last."""
    standing: list[ReviewDecision] = []
    for decision in decisions:
        if decision.undoes is None:
            standing.append(decision)
        else:
            standing = [one for one in standing if one.number != decision.undoes]
    return standing


def deciders(standing: Iterable[ReviewDecision], image_name: str) -> dict[int, str | None]:
    """Return who decided last on the regions of an image, by their place; None where nobody gave a name.

    Args:
        standing: decisions that are not undone, by number.
        image_name: file name.
    """
    return {decision.place: decision.by for decision in standing if decision.image_name == image_name}


def undoing(
    decision: ReviewDecision, regions: tuple[Region, ...], number: int, base: tuple[Region, ...] | None
) -> ReviewDecision | None:
    """Return what takes a decision back; None if its region is no longer as it left it.

    Args:
        decision: the last one that is not undone.
        regions: of the image, as they are.
        number: of the new decision.
        base: of the new decision.
    """
    place = decision.place
    is_last = place == len(regions) - 1
    if place >= len(regions) or decision.now is None or not _is_same(regions[place], decision.now):
        return None
    if decision.was is None and not is_last:
        return None
    return ReviewDecision(
        number, decision.image_name, "undo", place, regions[place], decision.was, base, decision.number
    )


def _is_same(a: Region, b: Region) -> bool:
    """Tell whether two regions are one, but for digits that a file has cost."""
    apart = max(abs(one - other) for one, other in zip(a.box_xyxy_px, b.box_xyxy_px, strict=True))
    return (a.label, a.review) == (b.label, b.review) and apart <= SAME_BOX_PX
