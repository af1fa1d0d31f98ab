"""Define annotations of an image: regions with a class, a place, and their source.

Every form of labels is read into these values and written from them; nothing else knows two forms at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edge.core.detections import UNCLASSIFIED, with_unclassified

ReviewState = Literal["unreviewed", "queued", "accepted", "rejected", "corrected"]

REVIEW_STATES: tuple[ReviewState, ...] = ("unreviewed", "queued", "accepted", "rejected", "corrected")
"""Queued: the engine was not sure; it is not trained on until a person decides.

Corrected: a person moved the box or changed the class, and it counts as accepted from then on.
"""

NOT_TRAINED_ON: frozenset[ReviewState] = frozenset({"rejected", "queued"})
"""Regions of these states stand beside the labels and not in them."""

AGREED = "+"
"""Joins the names of the annotators that found the same thing, in the order of the alphabet."""

BoxXyxy = tuple[float, float, float, float]
"""x1, y1, x2, y2 in image pixels; pixel (0, 0) reaches from 0 to 1, so x2 and y2 are exclusive."""

PolygonXy = tuple[tuple[float, float], ...]
"""Corners in image pixels, three or more, not closed."""


@dataclass(frozen=True, slots=True)
class Region:
    """Say that something is at a place of an image.

    Attributes:
        label: class name, or whatever the file says it is; `unclassified` where nobody has named it yet:
            such a region is queued until a person does.
        box_xyxy_px: where; for a region with a polygon, the box around it.
        polygon_xy_px: its outline, where one is known.
        category: finer name of the taxonomy, for instance ``broken end``; None if not known.
        phrase: what a person would say of it; None if not known.
        score: in [0, 1], of the annotator; None for a label made by hand.
        annotator: who or what said so, for instance ``labelimg`` or ``florence-2``; None if not known.
        review: what a person made of it.
        weight: how much a trainer is to trust it, in [0, 1].
    """

    label: str
    box_xyxy_px: BoxXyxy
    polygon_xy_px: PolygonXy | None = None
    category: str | None = None
    phrase: str | None = None
    score: float | None = None
    annotator: str | None = None
    review: ReviewState = "unreviewed"
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """Hold what is said about one image.

    Attributes:
        file_name: path of the image below the root of its set, with forward slashes.
        size_hw_px: height and width.
        regions: in the order of the file.
        group: roll or strip it was cut from: images of one group never lie in two splits.
        split: train, val or test; None if it is not split.
        unread: how many objects its labels hold that could not be read. Without them the image is not
            known: where they are it would teach that there is no defect.
        said_of_whole: names that the labels give to the image and to no place of it.
    """

    file_name: str
    size_hw_px: tuple[int, int]
    regions: tuple[Region, ...] = ()
    group: str | None = None
    split: str | None = None
    unread: int = 0
    said_of_whole: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Hold the images of one set and the names of its classes.

    Attributes:
        root: folder that the file names start from.
        class_names: in the order of their ids.
        images: sorted by file name.
        problems: what could not be read, file -> one line; the rest was read all the same.
        mm_per_px: size of a pixel on the cloth; None if not known.
        notes: what was read as something else, for instance a turned box as its outline, file -> one line.
        left_out: images of which an object could not be read; they are in no training set.
    """

    root: Path
    class_names: tuple[str, ...]
    images: tuple[AnnotatedImage, ...]
    problems: Mapping[str, str] = field(default_factory=dict)
    mm_per_px: float | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[AnnotatedImage, ...] = ()

    @property
    def labels_in_use(self) -> tuple[str, ...]:
        """The classes and, if a region waits for its class, `unclassified` behind them."""
        waits = any(region.label == UNCLASSIFIED for image in self.images for region in image.regions)
        return with_unclassified(self.class_names) if waits else self.class_names


@dataclass(frozen=True, slots=True)
class WrittenLabels:
    """Hold what a writer of labels has put on the disk.

    Attributes:
        labels: the images that were written, with their regions, under the names they were written under.
        left_out: what was not written, file -> one line.
    """

    labels: LabelSet
    left_out: Mapping[str, str] = field(default_factory=dict)


def box_around(polygon_xy_px: PolygonXy) -> BoxXyxy:
    """Return the smallest box that holds an outline."""
    xs = [x for x, _ in polygon_xy_px]
    ys = [y for _, y in polygon_xy_px]
    return min(xs), min(ys), max(xs), max(ys)
