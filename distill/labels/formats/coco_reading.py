"""Read COCO as many programs write it: ids and sizes of any type, masks, crowds, boxes that are missing."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.labels.formats.listed_twice import joined
from distill.labels.formats.run_lengths import box_of_run_lengths
from distill.labels.formats.shapes import ShapePlace, pixel_box, turned_box, with_outline
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, PolygonXy, Region, box_around
from distill.labels.sets.attributes import attributes_from, finite_numbers, polygon_from, side_px
from distill.labels.sets.documents import read_json
from distill.labels.sets.image_files import likely_folders, name_within, root_of, size_hw_px
from distill.labels.sets.problems import Problems
from edge.core.errors import DatasetError

OWN_KEY = "loomsight"
TABLES = ("images", "annotations", "categories")


@dataclass(slots=True)
class _Found:
    """Hold what the annotations say of one image."""

    regions: list[Region]
    unread: int = 0


def read(source: Path, image_folder: Path | None = None) -> LabelSet:
    """Read a COCO file.

    Raises:
        DatasetError: if it is missing, no JSON, or lacks images, annotations or categories.
    """
    return from_document(read_json(source), source, image_folder)


def from_document(content: Any, source: Path, image_folder: Path | None = None) -> LabelSet:
    """Read what `document` returns, or another program's.

    Raises:
        DatasetError: if it lacks images, annotations or categories.
    """
    tables = [content.get(key) if isinstance(content, dict) else None for key in TABLES]
    if not all(isinstance(table, list) and all(isinstance(row, dict) for row in table) for table in tables):
        raise DatasetError(
            f"{source} is no COCO file.", "It needs the lists images, annotations and categories."
        )
    images, annotations, categories = (table or [] for table in tables)
    problems = Problems()
    names = _category_names(categories, source.name, problems)
    found = _found_by_image(annotations, names, problems)
    counts = Counter(id_text(row.get("id")) for row in images)
    for image_id in sorted(found.keys() - counts.keys()):
        lost = len(found[image_id].regions) + found[image_id].unread
        problems.add(source.name, f"{lost} annotations of image {image_id}, which is not listed")
    own = _own(content)
    hint = own.get("root")
    folders = (
        [image_folder] if image_folder else likely_folders(source, hint if isinstance(hint, str) else None)
    )
    root = root_of((_stated_name(row) for row in images), folders)
    read_images = [
        image for row in images for image in _images(row, root, found, counts, problems)
    ]  # fmt: skip
    return LabelSet(
        root,
        tuple(dict.fromkeys(name for name in names.values() if name)),
        tuple(joined(read_images, problems)),
        problems.by_file(),
        _mm_per_px(own),
        problems.notes_by_file(),
    )


def id_text(value: Any) -> str:
    """Return an id in one spelling: 7, 7.0, "7" and "7.0" are one, as tables make one of the other."""
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    return text.removesuffix(".0") if text.removesuffix(".0").isdecimal() else text


def _category_names(rows: list[dict[str, Any]], file: str, problems: Problems) -> dict[str, str]:
    """Return names by id; "" for an id that two categories share."""
    names: dict[str, str] = {}
    for row in rows:
        number, name = id_text(row.get("id")), str(row.get("name") or "").strip()
        if names.setdefault(number, name) != name:
            problems.add(file, f"category {number} is '{names[number] or name}' and something else")
            names[number] = ""
    return names


def _own(content: Mapping[str, Any]) -> Mapping[str, Any]:
    info = content.get("info")
    own = info.get(OWN_KEY) if isinstance(info, dict) else None
    return own if isinstance(own, dict) else {}


def _mm_per_px(own: Mapping[str, Any]) -> float | None:
    try:
        [scale] = finite_numbers([own.get("mm_per_px")])
    except ValueError:
        return None
    return scale if scale > 0 else None


def _found_by_image(
    annotations: list[dict[str, Any]], names: Mapping[str, str], problems: Problems
) -> dict[str, _Found]:
    found: dict[str, _Found] = defaultdict(lambda: _Found([]))
    for row in annotations:
        where = f"annotation {str(row.get('id'))[:40]}"
        of_image = found[id_text(row.get("image_id"))]
        try:
            label = names.get(id_text(row.get("category_id")))
            if not label:
                raise ValueError(f"category {str(row.get('category_id'))[:40]} has no name")
            of_image.regions.append(_region(label, row, where, problems))
        except ValueError as error:
            problems.add(where, str(error))
            of_image.unread += 1
    return dict(found)


def _region(label: str, row: Mapping[str, Any], where: str, problems: Problems) -> Region:
    """Read an annotation; the caller turns a ValueError into a problem."""
    if any(row.get(mark) in (1, True, "1") for mark in ("iscrowd", "ignore")):
        raise ValueError("is a crowd, or to be ignored: the boxes of the objects in it are not known")
    attributes, wrong = attributes_from(row)
    for line in wrong:
        problems.add(where, line)
    pieces = row.get("segmentation")
    outlines = [_outline(piece) for piece in pieces] if isinstance(pieces, list) else []
    if row.get("bbox") in (None, []):
        place = _place_of_mask(pieces, outlines)
    else:
        place = _turned(_box(row["bbox"]), row)
    if place.note:
        problems.note(where, place.note)
    outline = outlines[0] if len(outlines) == 1 else None
    if outline is None or place.polygon_xy_px:
        return Region(label, place.box_xyxy_px, place.polygon_xy_px, **attributes)
    region, contradiction = with_outline(label, place.box_xyxy_px, outline, attributes)
    if contradiction:
        problems.add(where, contradiction)
    return region


def _box(bbox: Any) -> tuple[float, float, float, float]:
    """Return the corners of x, y, width, height."""
    numbers = finite_numbers(bbox if isinstance(bbox, list) else [])
    if len(numbers) != 4:
        raise ValueError(f"a box has 4 numbers, not {len(numbers)}")
    x, y, width, height = numbers
    if all(0 <= number <= 1 for number in numbers) and min(width, height) < 1:
        raise ValueError("a box is in fractions of the sides, 0 to 1: pixels are needed")
    return pixel_box((x, y, x + width, y + height))


def _turned(box: tuple[float, float, float, float], row: Mapping[str, Any]) -> ShapePlace:
    """Turn a box as CVAT and datumaro say it: by degrees among the attributes."""
    attributes = row.get("attributes")
    degrees = attributes.get("rotation") if isinstance(attributes, dict) else None
    if not degrees:
        return ShapePlace(box)
    [angle] = finite_numbers([degrees])
    return turned_box(box, math.radians(angle))


def _place_of_mask(pieces: Any, outlines: list[PolygonXy | None]) -> ShapePlace:
    """Return the box around a mask whose annotation has no box."""
    if isinstance(pieces, dict):
        return ShapePlace(box_of_run_lengths(pieces), note="has no box: the one around its mask is taken")
    whole = [outline for outline in outlines if outline]
    if not whole or len(whole) < len(outlines):
        raise ValueError("has neither a box nor an outline that can be read")
    around = box_around(tuple(corner for outline in whole for corner in outline))
    if len(whole) == 1:
        return ShapePlace(pixel_box(around), whole[0])
    return ShapePlace(pixel_box(around), note="has no box: the one around its outlines is taken")


def _outline(numbers: Any) -> PolygonXy | None:
    """Read an outline; other programs leave broken ones beside a good box, which then holds."""
    try:
        return polygon_from(numbers)
    except (ValueError, TypeError):
        return None


def _stated_name(row: Mapping[str, Any]) -> str:
    return str(row.get("file_name") or "").strip().replace("\\", "/")


def _images(
    row: Mapping[str, Any],
    root: Path,
    found: Mapping[str, _Found],
    counts: Mapping[str, int],
    problems: Problems,
) -> Iterator[AnnotatedImage]:
    image_id = id_text(row.get("id"))
    name = name_within(_stated_name(row), root)
    if not name:
        problems.add(f"image {image_id[:40]}", "the COCO file does not give its name and size")
        return
    height, width = side_px(row.get("height")), side_px(row.get("width"))
    try:
        size = (height, width) if height and width else size_hw_px(root / name)
    except DatasetError as error:
        problems.add(name, f"the COCO file does not give its size: {error.problem}")
        return
    here = found.get(image_id, _Found([]))
    unread = here.unread
    if counts[image_id] > 1:
        problems.add(name, f"shares its id {image_id[:40]} with another image")
        unread += 1
    group, split = (None if row.get(key) is None else str(row[key]) for key in ("group", "split"))
    yield AnnotatedImage(name, size, tuple(here.regions), group, split, unread)
