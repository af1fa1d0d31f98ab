"""Read CVAT for images, XML 1.1: exports of tasks and of projects, with all shapes that people draw."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import Element

from distill.labels.formats.listed_twice import joined
from distill.labels.formats.shapes import ShapePlace, ellipse, pixel_box, turned_box
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, Region, box_around
from distill.labels.sets.attributes import attributes_from, finite_numbers, polygon_from, side_px
from distill.labels.sets.documents import read_xml
from distill.labels.sets.image_files import is_there, likely_folders, name_within, root_of
from distill.labels.sets.problems import Problems
from edge.core.errors import DatasetError

IMAGE_TAG = "loomsight image"
IMAGE_ATTRIBUTES = ("group", "split")
CORNERS = ("xtl", "ytl", "xbr", "ybr")

SPLIT_OF_SUBSET: Final[Mapping[str, str]] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""How projects of CVAT call the splits, in small letters; `default` is none."""


def read(source: Path, image_folder: Path | None = None) -> LabelSet:
    """Read an XML file, as `write` left it or as CVAT exported it.

    Raises:
        DatasetError: if it cannot be read or is of another kind.
    """
    root_element = read_xml(source)
    if root_element.tag != "annotations" or root_element.find("track") is not None:
        raise DatasetError(
            f"{source} is not in the form 'CVAT for images 1.1'.", "Export the task again in that form."
        )
    problems = Problems()
    items = root_element.findall("image")
    names = (name for item in items for name in _possible_names(item))
    root = root_of(names, [image_folder] if image_folder else likely_folders(source))
    named = [(_name(item, root), item) for item in items]
    images = joined((image for name, item in named for image in _images(name, item, problems)), problems)
    images = _without_twins(images, named, problems)
    declared = (name.text or "" for name in root_element.findall("meta//labels/label/name"))
    used = (region.label for image in images for region in image.regions)
    class_names = dict.fromkeys(name for name in (*declared, *used) if name not in ("", IMAGE_TAG))
    return LabelSet(
        root, tuple(class_names), tuple(images), problems.by_file(), notes=problems.notes_by_file()
    )


def _possible_names(item: Element) -> Iterator[str]:
    """Yield what an image may be called: projects keep it in a folder of its subset, and do not say so."""
    name = item.get("name", "").strip().replace("\\", "/")
    subset = item.get("subset", "").strip()
    if subset and name:
        yield f"{subset}/{name}"
        yield f"{subset.lower()}/{name}"
    yield name


def _name(item: Element, root: Path) -> str:
    """Return the name below the root; the stated one if there is no such image."""
    names = [name_within(name, root) for name in _possible_names(item)]
    return next((name for name in names if name and is_there(root / name)), names[-1])


def _without_twins(
    images: Iterable[AnnotatedImage], named: Iterable[tuple[str, Element]], problems: Problems
) -> list[AnnotatedImage]:
    """Count images as unread that several tasks of a project have under one name: they may be different."""
    tasks = {(name, item.get("task_id", "")) for name, item in named}
    times = Counter(name for name, _ in tasks)
    checked = []
    for image in images:
        if times[image.file_name] > 1:
            problems.add(image.file_name, "is in several tasks, and may be a different image in each")
            image = replace(image, unread=image.unread + 1)
        checked.append(image)
    return checked


def _images(name: str, item: Element, problems: Problems) -> Iterator[AnnotatedImage]:
    height, width = side_px(item.get("height")), side_px(item.get("width"))
    if not name or not height or not width:
        problems.add(name or f"image {item.get('id')}", "the CVAT file does not give its name and size")
        return
    regions: list[Region] = []
    own: dict[str, str | None] = {"split": SPLIT_OF_SUBSET.get(item.get("subset", "").strip().lower())}
    said: list[str] = []
    unread = 0
    for number, shape in enumerate(item, start=1):
        label = shape.get("label", "").strip()
        if shape.tag == "tag":
            values = _values(shape) if label == IMAGE_TAG else {}
            own |= {key: values[key] for key in IMAGE_ATTRIBUTES if values.get(key)}
            said += [label] if label not in ("", IMAGE_TAG) else []
            continue
        try:
            regions.append(_region(shape, label, f"shape {number}", name, problems))
        except ValueError as error:
            problems.add(name, f"shape {number}: {error}")
            unread += 1
    yield AnnotatedImage(
        name, (height, width), tuple(regions), own.get("group"), own.get("split"), unread, tuple(said)
    )


def _region(shape: Element, label: str, where: str, name: str, problems: Problems) -> Region:
    """Read one shape; the caller turns a ValueError into a problem."""
    if not label:
        raise ValueError("has no label")
    if shape.get("outside") == "1":
        raise ValueError("is a box of a track outside of the image")
    if shape.tag not in _PLACES:
        raise ValueError(f"a {shape.tag} has no area that is a box: draw it as a box or a polygon")
    attributes, wrong = attributes_from(_values(shape))
    place = _PLACES[shape.tag](shape)
    for line in wrong:
        problems.add(name, f"{where}: {line}")
    if place.note:
        problems.note(name, f"{where}: {place.note}")
    return Region(label, place.box_xyxy_px, place.polygon_xy_px, **attributes)


def _box(shape: Element) -> ShapePlace:
    return turned_box(pixel_box(shape.get(corner) for corner in CORNERS), _angle_rad(shape))


def _polygon(shape: Element) -> ShapePlace:
    outline = polygon_from(shape.get("points", "").replace(";", ",").split(","))
    return ShapePlace(pixel_box(box_around(outline)), outline)


def _ellipse(shape: Element) -> ShapePlace:
    x, y, radius_x, radius_y = finite_numbers(shape.get(part) for part in ("cx", "cy", "rx", "ry"))
    return ellipse((x, y), (radius_x, radius_y), _angle_rad(shape))


def _mask(shape: Element) -> ShapePlace:
    """Return the box of a mask: CVAT cuts masks to what is set of them."""
    left, top, width, height = finite_numbers(
        shape.get(part) for part in ("left", "top", "width", "height")
    )  # fmt: skip
    runs = finite_numbers(shape.get("rle", "").split(","))
    if min(width, height) <= 0 or min(runs) < 0 or sum(runs) != width * height or sum(runs[1::2]) == 0:
        raise ValueError("the run lengths of a mask do not cover it")
    note = "a mask is read as the box around it"
    return ShapePlace(pixel_box((left, top, left + width, top + height)), note=note)


_PLACES: Final[Mapping[str, Any]] = {"box": _box, "polygon": _polygon, "ellipse": _ellipse, "mask": _mask}
"""Shapes whose box is known. A polyline has no width, points and skeletons have no edge."""


def _angle_rad(shape: Element) -> float:
    [degrees] = finite_numbers([shape.get("rotation") or 0])
    return math.radians(degrees)


def _values(shape: Element) -> dict[str, str]:
    return {item.get("name", ""): (item.text or "").strip() for item in shape.findall("attribute")}
