"""Read Florence-2's training lines, also those of other programs: whatever is no box in them is named."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distill.labels.formats.listed_twice import joined
from distill.labels.formats.location_tokens import BINS, parse_places
from distill.labels.formats.shapes import with_outline
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, Region, box_around
from distill.labels.sets.attributes import attributes_from, polygon_from
from distill.labels.sets.documents import json_from_text, read_text
from distill.labels.sets.image_files import likely_folders, name_within, root_of, size_hw_px
from distill.labels.sets.problems import Problems
from edge.core.errors import DatasetError

PREFIX = "<OD>"
OWN_KEY = "loomsight"

_BIN = re.compile(r"<loc_(\d+)>")


@dataclass(frozen=True, slots=True)
class _Row:
    """Hold one line of object detection.

    Attributes:
        where: it stands, for messages.
        name: of the image, as stated.
        suffix: boxes; None if the line has none, though it is of an image.
        own: this project's values.
    """

    where: str
    name: str
    suffix: str | None
    own: Mapping[str, Any]


def read(source: Path, image_folder: Path | None = None) -> LabelSet:
    """Read a JSONL file; lines of other tasks than object detection are named as problems.

    Args:
        source: the file.
        image_folder: folder of the images, whose sizes are needed; None: in or beside the file's folder.
    Raises:
        DatasetError: if the file cannot be read.
    """
    problems = Problems()
    rows = list(_rows(source, problems))
    root = root_of((row.name for row in rows), [image_folder] if image_folder else likely_folders(source))
    read_images = []
    for row in rows:
        try:
            read_images.append(_image(row, root, problems))
        except DatasetError as error:
            problems.add(row.where, error.problem)
    images = joined(read_images, problems)
    labels = sorted({region.label for image in images for region in image.regions})
    return LabelSet(root, tuple(labels), tuple(images), problems.by_file(), notes=problems.notes_by_file())


def _rows(source: Path, problems: Problems) -> Iterator[_Row]:
    for number, text in enumerate(read_text(source).split("\n"), start=1):
        where = f"line {number}"
        if not text.strip():
            continue
        try:
            row = json_from_text(text, where)
        except DatasetError as error:
            problems.add(where, error.problem)
            continue
        name, suffix = (row.get("image"), row.get("suffix")) if isinstance(row, dict) else (None, None)
        if not isinstance(suffix, str) or not isinstance(name, str):
            problems.add(where, "needs the texts prefix, suffix and image")
        elif row.get("prefix", PREFIX) != PREFIX:
            problems.add(where, f"prefix '{str(row['prefix'])[:40]}' is not {PREFIX}: skipped")
            continue
        if isinstance(name, str):
            own = row.get(OWN_KEY)
            yield _Row(
                where,
                name.replace("\\", "/"),
                suffix if isinstance(suffix, str) else None,
                own if isinstance(own, dict) else {},
            )


def _image(row: _Row, root: Path, problems: Problems) -> AnnotatedImage:
    name = name_within(row.name, root)
    if not name:
        raise DatasetError("names no image", "")
    size = size_hw_px(root / name)
    if row.suffix is None:
        return AnnotatedImage(name, size, unread=1)
    for number in _BIN.findall(row.suffix):
        if int(number[:9]) >= BINS:
            problems.add(
                row.where, f"<loc_{number[:20]}> is no token of Florence-2; read as <loc_{BINS - 1}>"
            )
    places, wrong = parse_places(row.suffix, size)
    for line in wrong:
        problems.add(row.where, line)
    regions = [Region(label, box, outline) for label, box, outline in places]
    own, is_matching = _own_of_regions(row, len(regions), problems)
    regions, lost = _with_own_values(regions, own, size, row.where, problems)
    unread = len(wrong) + lost + int(not is_matching)
    group, split = (None if row.own.get(key) is None else str(row.own[key]) for key in ("group", "split"))
    return AnnotatedImage(name, size, tuple(regions), group, split, unread)


def _own_of_regions(row: _Row, count: int, problems: Problems) -> tuple[list[dict[str, Any]], bool]:
    """Return the own values per region, and whether they fit: nobody may have added or removed one since.

    Without them a box that a person rejected would count again.
    """
    rows = row.own.get("regions")
    if rows is None:
        return [{} for _ in range(count)], True
    if isinstance(rows, list) and len(rows) == count and all(isinstance(item, dict) for item in rows):
        return rows, True
    problems.add(row.where, f"its {count} boxes are not those that '{OWN_KEY}' tells of")
    return [{} for _ in range(count)], False


def _with_own_values(
    regions: list[Region],
    own: list[dict[str, Any]],
    size: tuple[int, int],
    where: str,
    problems: Problems,
) -> tuple[list[Region], int]:
    """Give regions their own values; return them and how many have an outline that cannot be read."""
    known: list[Region] = []
    lost = 0
    for region, values in zip(regions, own, strict=True):
        try:
            known.append(_with_own(region, values, size, where, problems))
        except (ValueError, TypeError) as error:
            problems.add(where, str(error))
            lost += 1
    return known, lost


def _with_own(
    region: Region, values: Mapping[str, Any], size: tuple[int, int], where: str, problems: Problems
) -> Region:
    attributes, wrong = attributes_from(values)
    for text in wrong:
        problems.add(where, text)
    if not values.get("polygon"):
        return replace(region, **attributes)
    outline = polygon_from(values["polygon"])
    bin_px = max(size) / BINS
    fitting, contradiction = with_outline(region.label, region.box_xyxy_px, outline, attributes, bin_px)
    if contradiction:
        problems.add(where, contradiction)
        return fitting
    return replace(fitting, box_xyxy_px=box_around(outline))
