"""Find labels that break trainings, before one is started."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from distill.data.dataset import check_shows_defects, dataset_of
from distill.labels.checks.duplicate_boxes import duplicates
from distill.labels.formats.completeness import OUTSIDE_TOLERANCE_PX, SWAPPED
from distill.labels.sets.annotations import NOT_TRAINED_ON, AnnotatedImage, LabelSet, Region
from distill.labels.sets.image_files import content_digest, decoded
from edge.core.detections import UNCLASSIFIED
from edge.core.errors import DatasetError

Kind = Literal[
    "not read",
    "unreadable image",
    "wrong size",
    "outside",
    "no area",
    "swapped corners",
    "unknown class",
    "duplicate box",
    "duplicate image",
    "image in two splits",
    "group in two splits",
    "not trainable",
]


@dataclass(frozen=True, slots=True)
class LabelFinding:
    """Say what is wrong with a file.

    Attributes:
        kind: the sort of mistake.
        file: the image, or the file of labels.
        detail: one line.
    """

    kind: Kind
    file: str
    detail: str


def check(label_set: LabelSet, *, with_images: bool = True) -> list[LabelFinding]:
    """Look for mistakes, in the order of the files.

    Args:
        label_set: what was read; its problems are findings, too.
        with_images: also decode every image, for damage, size and copies.
    """
    images = (*label_set.images, *label_set.left_out)
    boxes = [finding for image in images for finding in _boxes(image, label_set.class_names)]
    findings = [*_of_reading(label_set.problems, boxes), *boxes, *_groups(label_set.images)]
    return [*findings, *(_images(label_set) if with_images else ())]


def _of_reading(problems: Mapping[str, str], boxes: Iterable[LabelFinding]) -> Iterator[LabelFinding]:
    """Turn what reading said into findings, but for boxes that are findings already."""
    named = {
        (one.file, one.detail.partition(": ")[0]) for one in boxes if one.kind in ("outside", "no area")
    }
    for file, text in problems.items():
        lines = [line for line in text.split("; ") if (file, line.partition(", at ")[0]) not in named]
        swapped = [line for line in lines if line.endswith(SWAPPED)]
        rest = [line for line in lines if not line.endswith(SWAPPED)]
        if swapped:
            yield LabelFinding("swapped corners", file, "; ".join(swapped))
        if rest:
            yield LabelFinding("not read", file, "; ".join(rest))


def of_training(label_set: LabelSet, folder: Path) -> list[LabelFinding]:
    """Return why `loomsight distill` would refuse a data set, by its own words; nothing if it takes it."""
    try:
        check_shows_defects(dataset_of(label_set, folder))
    except DatasetError as error:
        return [LabelFinding("not trainable", folder.name, error.problem)]
    return []


def _boxes(image: AnnotatedImage, class_names: tuple[str, ...]) -> Iterator[LabelFinding]:
    for number, region in enumerate(image.regions, start=1):
        where = f"box {number}, {region.label}"
        for kind, detail in _of_one_box(region, image.size_hw_px, class_names):
            yield LabelFinding(kind, image.file_name, f"{where}: {detail}")
    for first, second in duplicates(image.regions):
        detail = f"boxes {first + 1} and {second + 1}, {image.regions[first].label}"
        yield LabelFinding("duplicate box", image.file_name, detail)


def _of_one_box(
    region: Region, size_hw_px: tuple[int, int], class_names: tuple[str, ...]
) -> Iterator[tuple[Kind, str]]:
    height, width = size_hw_px
    x1, y1, x2, y2 = region.box_xyxy_px
    corners = f"{x1:g}, {y1:g}, {x2:g}, {y2:g}"
    waits = region.label == UNCLASSIFIED and region.review in NOT_TRAINED_ON
    if region.label not in class_names and not waits:
        yield "unknown class", f"not one of {', '.join(class_names)}"
    if x1 > x2 or y1 > y2:
        yield "swapped corners", corners
    elif x1 == x2 or y1 == y2:
        yield "no area", corners
    far = max(-x1, -y1, -x2, -y2, x1 - width, x2 - width, y1 - height, y2 - height)
    if far > OUTSIDE_TOLERANCE_PX:
        yield "outside", f"{corners} in an image of {width} x {height}"


def _groups(images: tuple[AnnotatedImage, ...]) -> Iterator[LabelFinding]:
    splits: dict[str, set[str]] = defaultdict(set)
    for image in images:
        if image.group and image.split:
            splits[image.group].add(image.split)
    for image in images:
        found = splits.get(image.group or "", set())
        if len(found) > 1 and image.split == max(found):
            yield LabelFinding(
                "group in two splits", image.file_name, f"{image.group}: {', '.join(sorted(found))}"
            )


def _images(label_set: LabelSet) -> Iterator[LabelFinding]:
    first_of: dict[str, AnnotatedImage] = {}
    for image in (*label_set.images, *label_set.left_out):
        try:
            pixels = decoded(label_set.root / image.file_name)
        except DatasetError as error:
            yield LabelFinding("unreadable image", image.file_name, error.problem)
            continue
        height, width = pixels.shape[:2]
        if (height, width) != image.size_hw_px:
            stated = f"{image.size_hw_px[1]} x {image.size_hw_px[0]}"
            detail = f"{width} x {height}, its labels are for {stated}"
            yield LabelFinding("wrong size", image.file_name, detail)
        first = first_of.setdefault(content_digest(pixels), image)
        if first is not image:
            yield _copy(image, first)


def _copy(image: AnnotatedImage, first: AnnotatedImage) -> LabelFinding:
    if image.split != first.split:
        detail = f"the same as {first.file_name} in {first.split}"
        return LabelFinding("image in two splits", image.file_name, detail)
    return LabelFinding("duplicate image", image.file_name, f"the same as {first.file_name}")
