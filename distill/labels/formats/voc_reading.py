"""Read Pascal VOC XML as LabelImg writes it, and its relatives: several boxes in an object, turned boxes.

LabelImg keeps one box in each `<object>`; ybat puts all of a class into one. roLabelImg writes turned boxes
as `<robndbox>`: centre, sides and an angle in radians. LabelMe and RectLabel write `<polygon>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element

from distill.labels.formats.listed_twice import apart
from distill.labels.formats.shapes import ShapePlace, pixel_box, turned_box, with_outline
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, Region, box_around
from distill.labels.sets.attributes import attributes_from, finite_numbers, polygon_from, side_px
from distill.labels.sets.documents import read_xml
from distill.labels.sets.image_files import (
    is_there,
    likely_folders,
    root_of,
    size_hw_px,
    with_image_suffix,
)
from distill.labels.sets.problems import Problems
from edge.core.errors import DatasetError
from edge.core.outside_files import files_below

OWN_ELEMENT = "loomsight"
UNKNOWN_POSE = "Unspecified"
POSES_OF_VOC = frozenset({UNKNOWN_POSE, "", "Frontal", "Rear", "Left", "Right"})
"""What `<pose>` was made for; none of them is a kind of defect."""

CORNERS = ("xmin", "ymin", "xmax", "ymax")
_TURNED = ("cx", "cy", "w", "h", "angle")
_SHAPES = frozenset({"bndbox", "robndbox", "polygon"})


@dataclass(frozen=True, slots=True)
class _File:
    """Hold a parsed file and its path without suffix, relative to the folder of labels."""

    name: str
    element: Element

    @property
    def stem(self) -> PurePosixPath:
        return PurePosixPath(self.name).with_suffix("")

    @property
    def image(self) -> str:
        """Return the name of the image that the file states, relative to the root; "" if it does not."""
        stated = (self.element.findtext("filename") or "").strip().replace("\\", "/").split("/")[-1]
        return str(self.stem.with_name(stated)) if stated not in ("", ".", "..") else ""

    @property
    def possible_images(self) -> list[str]:
        """Return what the image may be called if it was renamed after it was labelled."""
        suffixes = (".jpg", ".png", ".bmp", ".jpeg", ".tif")
        return [self.image, *(f"{self.stem}{suffix}" for suffix in suffixes)]


def read(source: Path, image_folder: Path | None = None) -> LabelSet:
    """Read all XML files in a folder and below it, or a single one.

    Args:
        source: the folder; images are looked for in it, beside it, in `images` and in `JPEGImages`.
        image_folder: where the images are, if not there.
    Raises:
        DatasetError: if there is no XML file.
    """
    problems = Problems()
    base = source if source.is_dir() else source.parent
    paths = sorted(files_below(base, "*.xml")) if source.is_dir() else [source]
    if not paths or not base.is_dir():
        raise DatasetError(f"{source} holds no XML files.", "Name the folder LabelImg saves to.")
    files = [_parsed(path, base, problems) for path in paths]
    folders = [image_folder] if image_folder else [*likely_folders(source), *_stated_folders(files)]
    root = root_of((name for file in files for name in file.possible_images), folders)
    images = apart((image for file in files for image in _image(file, root, problems)), problems)
    labels = sorted({region.label for image in images for region in image.regions})
    return LabelSet(root, tuple(labels), tuple(images), problems.by_file(), notes=problems.notes_by_file())


_NOT_READ = "not read"
"""Tag of the element in place of a file that cannot be read: its image is still known by its name."""


def _parsed(path: Path, base: Path, problems: Problems) -> _File:
    name = path.relative_to(base).as_posix()
    try:
        root = read_xml(path)
    except DatasetError as error:
        problems.add(name, error.problem)
        return _File(name, Element(_NOT_READ))
    if root.tag != "annotation":
        problems.add(name, f"is a <{root.tag}> and not LabelImg's <annotation>")
        return _File(name, Element(_NOT_READ))
    return _File(name, root)


def _stated_folders(files: Iterable[_File]) -> list[Path]:
    """Return the root that the first file's `<path>` leads to, as LabelImg writes it."""
    paths = ((Path(file.element.findtext("path") or ""), len(file.stem.parts)) for file in files)
    roots = [
        path.parents[depth - 1] for path, depth in paths if path.is_absolute() and len(path.parts) > depth
    ]
    return roots[:1]


def _image(file: _File, root: Path, problems: Problems) -> Iterator[AnnotatedImage]:
    name = _image_name(file, root)
    is_read = file.element.tag != _NOT_READ
    own = file.element.find(OWN_ELEMENT)
    own_values = {} if own is None else own.attrib
    try:
        if not name:
            raise DatasetError("names no image, and none has its name", "")
        size = _stated_size(file.element) or size_hw_px(root / name)
    except DatasetError as error:
        if is_read:
            problems.add(file.name, error.problem)
        return
    if not is_read:
        yield AnnotatedImage(name, size, unread=1)
        return
    regions, unread = _objects(file, problems)
    yield AnnotatedImage(
        name, size, tuple(regions), own_values.get("group"), own_values.get("split"), unread=unread
    )


def _image_name(file: _File, root: Path) -> str:
    """Return the stated image or, where there is no such file, the one of the XML file's own name."""
    stated = file.image
    if stated and is_there(root / stated):
        return stated
    flat = PurePosixPath(stated).name
    if stated and is_there(root / flat):
        return flat
    found = with_image_suffix(root / file.stem)
    return found.relative_to(root).as_posix() if found else stated


def _stated_size(element: Element) -> tuple[int, int] | None:
    height, width = (side_px(element.findtext(f"size/{side}")) for side in ("height", "width"))
    return (height, width) if height and width else None


def _objects(file: _File, problems: Problems) -> tuple[list[Region], int]:
    """Return the regions of a file, and how many boxes it holds that could not be read."""
    regions: list[Region] = []
    unread = placed = 0
    items = list(file.element.iter("object"))
    for number, item in enumerate(items, start=1):
        if (item.findtext("deleted") or "").strip() == "1":  # LabelMe keeps what a person took away
            continue
        shapes = _shapes(item)
        placed += len(shapes)
        for place, shape in enumerate(shapes or [None], start=1):
            where = f"object {number}" + (f", box {place}" if place > 1 else "")
            try:
                regions.append(_region(item, shape, where, file.name, problems))
            except ValueError as error:
                problems.add(file.name, f"{where}: {error}")
                unread += 1
        if item.find("part") is not None:
            problems.note(file.name, f"object {number}: the boxes of its parts are not read")
    stray = _shapes_elsewhere(file.element, items, placed)
    if stray:
        problems.add(file.name, f"{stray} boxes stand outside of <object>")
    return regions, unread + stray


def _shapes(item: Element) -> list[Element | None]:
    """Return the boxes of an object; where it has none, its outlines."""
    boxes = [shape for shape in item if shape.tag in ("bndbox", "robndbox")]
    return [*(boxes or item.findall("polygon"))]


def _shapes_elsewhere(root: Element, items: Iterable[Element], known: int) -> int:
    """Count boxes that belong to no object, for instance to an `<Object>`; `known` ones need no search."""
    everywhere = _count_shapes(root)
    return 0 if everywhere == known else everywhere - sum(map(_count_shapes, items))


def _count_shapes(element: Element) -> int:
    return sum([shape.tag.lower() in _SHAPES for shape in element.iter()])


def _region(item: Element, shape: Element | None, where: str, file_name: str, problems: Problems) -> Region:
    """Read one box of an object; the caller turns a ValueError into a problem."""
    label = (item.findtext("name") or "").strip()
    if not label or shape is None:
        raise ValueError("has no name" if shape is not None else "has no <bndbox>")
    pose = (item.findtext("pose") or "").strip()
    own = item.find(OWN_ELEMENT)
    values: Mapping[str, Any] = {} if own is None else own.attrib
    attributes, wrong = attributes_from({"category": None if pose in POSES_OF_VOC else pose, **values})
    place = _place(shape)
    for line in wrong:
        problems.add(file_name, f"{where}: {line}")
    if place.note:
        problems.note(file_name, f"{where}: {place.note}")
    outline = str(values.get("polygon") or "").replace(";", ",").split(",")
    if outline == [""] or len(_shapes(item)) > 1:
        return Region(label, place.box_xyxy_px, place.polygon_xy_px, **attributes)
    region, contradiction = with_outline(label, place.box_xyxy_px, polygon_from(outline), attributes)
    if contradiction:
        problems.add(file_name, f"{where}: {contradiction}")
    return region


def _place(shape: Element) -> ShapePlace:
    if shape.tag == "polygon":
        outline = polygon_from(_corners(shape))
        return ShapePlace(pixel_box(box_around(outline)), outline)
    if shape.tag == "bndbox":
        return ShapePlace(pixel_box(shape.findtext(corner) for corner in CORNERS))
    x, y, width, height, angle = finite_numbers(shape.findtext(part) for part in _TURNED)
    if min(width, height) < 0:
        raise ValueError("a turned box has a negative side")
    return turned_box(pixel_box((x - width / 2, y - height / 2, x + width / 2, y + height / 2)), angle)


def _corners(shape: Element) -> list[str | None]:
    """Return x and y in turn, from LabelMe's `<pt><x/><y/></pt>` or RectLabel's `<x1/><y1/><x2/>...`."""
    points = shape.findall("pt")
    if points:
        return [point.findtext(axis) for point in points for axis in ("x", "y")]
    return [side.text for side in shape if side.tag[:1] in ("x", "y") and side.tag[1:].isdecimal()]
