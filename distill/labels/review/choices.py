"""Check what a person chose on the page, and return the region that results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from distill.labels.sets.annotations import AnnotatedImage, BoxXyxy, Region
from edge.core.errors import DatasetError
from edge.core.taxonomy import Taxonomy

PERSON = "person"
"""Annotator of a region that was drawn on the page."""

SMALLEST_BOX_PX = 1.0
"""A box with a shorter side is a slip of the mouse."""


PersonName = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""One line, as people write their names."""


class Choice(BaseModel):
    """Ask for a decision.

    Attributes:
        image_name: file name.
        version: number of the last decision on this image that the page knows.
        action: what to do.
        place: of the region, from 0; not used for a new one.
        label: class, for `relabel` and `add`.
        category: of the taxonomy, for `relabel`; it brings its class and phrase.
        box_xyxy_px: for `redraw` and `add`.
        by: name of the person; None where nobody gave one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    image_name: str = Field(alias="image")
    version: int
    action: Literal["accept", "reject", "relabel", "redraw", "add"]
    place: int = Field(default=0, ge=0)
    label: str | None = None
    category: str | None = None
    box_xyxy_px: BoxXyxy | None = None
    by: PersonName | None = None


def judged(choice: Choice, image: AnnotatedImage, class_names: Sequence[str], taxonomy: Taxonomy) -> Region:
    """Return the region that a choice leads to.

    Raises:
        DatasetError: if there is no such region or class, the box is too small, or a region is accepted
            that nobody has given a class.
        ConfigError: if there is no such category.
    """
    if choice.action == "add":
        box = inside(choice.box_xyxy_px, image.size_hw_px)
        label = _known(choice.label or class_names[0], class_names)
        return Region(label, box, annotator=PERSON, review="accepted")
    if choice.place >= len(image.regions):
        raise DatasetError(f"{image.file_name} has no region {choice.place + 1}.", "Load the page again.")
    region = image.regions[choice.place]
    if choice.action == "reject":
        return replace(region, review="rejected")
    if choice.action == "redraw":
        box = inside(choice.box_xyxy_px, image.size_hw_px)
        drawn = replace(region, box_xyxy_px=box, polygon_xy_px=None, weight=1.0)
        return drawn if region.label not in class_names else replace(drawn, review="corrected")
    if choice.action == "relabel":
        return relabelled(region, choice, class_names, taxonomy)
    if region.label not in class_names:
        raise DatasetError(f"It is {region.label}.", "Give it a class: 1 to 9, or the list Name.")
    return accepted(region)


def accepted(region: Region) -> Region:
    """Return a region that a person found right; one that was corrected stays so."""
    review = region.review if region.review == "corrected" else "accepted"
    return replace(region, review=review, weight=1.0)


def relabelled(region: Region, choice: Choice, class_names: Sequence[str], taxonomy: Taxonomy) -> Region:
    """Return a region with another name; one that has this name already is accepted."""
    corrected = replace(region, category=None, phrase=None, review="corrected", weight=1.0)
    if choice.category:
        kind = taxonomy.kind(choice.category)
        label = _known(kind.parent, class_names)
        return replace(corrected, label=label, category=kind.category, phrase=kind.phrase)
    label = _known(choice.label or "", class_names)
    return accepted(region) if label == region.label else replace(corrected, label=label)


def inside(box_xyxy_px: BoxXyxy | None, size_hw_px: tuple[int, int]) -> BoxXyxy:
    """Return a drawn box with its corners in order and inside the image.

    Raises:
        DatasetError: if too little is left of it.
    """
    height, width = size_hw_px
    if box_xyxy_px is None or not all(math.isfinite(corner) for corner in box_xyxy_px):
        raise DatasetError("There is no box.", "Drag one with the mouse.")
    x1, y1, x2, y2 = box_xyxy_px
    left, right = (min(max(x, 0.0), float(width)) for x in sorted((x1, x2)))
    top, bottom = (min(max(y, 0.0), float(height)) for y in sorted((y1, y2)))
    if min(right - left, bottom - top) < SMALLEST_BOX_PX:
        raise DatasetError("The box is smaller than a pixel.", "Drag it again, from corner to corner.")
    return left, top, right, bottom


def _known(label: str, class_names: Sequence[str]) -> str:
    if label not in class_names or not label:
        raise DatasetError(f"There is no class '{label}'.", f"Use one of: {', '.join(class_names)}.")
    return label
