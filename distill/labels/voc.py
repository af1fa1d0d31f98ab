"""LabelImg's form: a folder with one Pascal VOC XML file per picture.

LabelImg writes the edges of a box as pixel numbers counted from the left and upper edge of the picture,
right and lower edge exclusive: a box over a whole picture ends at its width. They are taken as they
stand (a 1 that LabelImg writes in place of 0 stays a 1) and written the same way, with decimals if need be.

`<pose>` holds the category. What VOC has no place for stands in an element of its own, `<loomsight .../>`,
which other programs pass over; LabelImg drops it when it saves a file again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from distill.labels.annotations import AnnotatedImage, LabelSet, Region, Written, box_around
from distill.labels.attributes import attributes_from, attributes_of, box_from, polygon_from
from distill.labels.documents import number_text, read_xml, text_from_xml
from distill.labels.picture_files import is_there, likely_folders, root_of, size_hw_px, with_picture_suffix
from distill.labels.problems import Problems
from edge.errors import DatasetError, OutputError
from edge.sinks.publishing import name_below, new_folder

OWN_ELEMENT = "loomsight"
UNKNOWN_POSE = "Unspecified"
POSES_OF_VOC = frozenset({UNKNOWN_POSE, "", "Frontal", "Rear", "Left", "Right"})
"""What `<pose>` was made for; none of them is a kind of defect."""

CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, slots=True)
class _File:
    """Hold a parsed file and its path without suffix, relative to the folder of labels."""

    name: str
    element: Element

    @property
    def stem(self) -> PurePosixPath:
        return PurePosixPath(self.name).with_suffix("")

    @property
    def picture(self) -> str:
        """Return the name of the picture that the file states, relative to the root; "" if it does not."""
        stated = (self.element.findtext("filename") or "").strip().replace("\\", "/").split("/")[-1]
        return str(self.stem.with_name(stated)) if stated not in ("", ".", "..") else ""

    @property
    def possible_pictures(self) -> list[str]:
        """Return what the picture may be called if it was renamed after it was labelled."""
        suffixes = (".jpg", ".png", ".bmp", ".jpeg", ".tif")
        return [self.picture, *(f"{self.stem}{suffix}" for suffix in suffixes)]


def read(source: Path, pictures: Path | None = None) -> LabelSet:
    """Read all XML files in a folder and below it, or a single one.

    Args:
        source: the folder; pictures are looked for in it, beside it, in `images` and in `JPEGImages`.
        pictures: where the pictures are, if not there.
    Raises:
        DatasetError: if there is no XML file.
    """
    problems = Problems()
    base = source if source.is_dir() else source.parent
    paths = sorted(base.rglob("*.xml")) if source.is_dir() else [source]
    if not paths or not base.is_dir():
        raise DatasetError(f"{source} holds no XML files.", "Name the folder LabelImg saves to.")
    files = [file for path in paths for file in _parsed(path, base, problems)]
    folders = [pictures] if pictures else [*likely_folders(source), *_stated_folders(files)]
    root = root_of((name for file in files for name in file.possible_pictures), folders)
    images = [image for file in files for image in _image(file, root, problems)]
    labels = sorted({region.label for image in images for region in image.regions})
    ordered = tuple(sorted(images, key=lambda image: image.file_name))
    return LabelSet(root, tuple(labels), ordered, problems.by_file())


def write(label_set: LabelSet, target: Path) -> Written:
    """Write one XML file per picture into a new folder.

    Raises:
        OutputError: if the folder is not empty or cannot be written, or two pictures share a name.
        DatasetError: if a name holds a character that XML cannot hold.
    """
    with new_folder(target) as folder:
        for image in label_set.images:
            path = (folder / name_below(image.file_name)).with_suffix(".xml")
            if path.exists():
                raise OutputError(
                    f"{image.file_name}: another picture has the same name but for its suffix.",
                    "Rename one: LabelImg keeps one XML file for both.",
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text_from_xml(_element(image, label_set.root)), encoding="utf-8")
    return Written(label_set)


def _parsed(path: Path, base: Path, problems: Problems) -> Iterable[_File]:
    name = path.relative_to(base).as_posix()
    try:
        root = read_xml(path)
    except DatasetError as error:
        problems.add(name, error.problem)
        return
    if root.tag == "annotation":
        yield _File(name, root)
    else:
        problems.add(name, f"is a <{root.tag}> and not LabelImg's <annotation>")


def _stated_folders(files: Iterable[_File]) -> list[Path]:
    """Return the root that the first file's `<path>` leads to, as LabelImg writes it."""
    paths = ((Path(file.element.findtext("path") or ""), len(file.stem.parts)) for file in files)
    roots = [
        path.parents[depth - 1] for path, depth in paths if path.is_absolute() and len(path.parts) > depth
    ]
    return roots[:1]


def _image(file: _File, root: Path, problems: Problems) -> Iterable[AnnotatedImage]:
    name = _picture_name(file, root)
    own = file.element.find(OWN_ELEMENT)
    own_values = {} if own is None else own.attrib
    try:
        if not name:
            raise DatasetError("names no picture, and none has its name", "")
        size = _stated_size(file.element) or size_hw_px(root / name)
    except DatasetError as error:
        problems.add(file.name, error.problem)
        return
    regions = []
    for number, item in enumerate(file.element.findall("object"), start=1):
        try:
            regions.append(_region(item, f"object {number}", file.name, problems))
        except ValueError as error:
            problems.add(file.name, f"object {number}: {error}")
    group, split = own_values.get("group"), own_values.get("split")
    yield AnnotatedImage(name, size, tuple(regions), group, split)


def _picture_name(file: _File, root: Path) -> str:
    """Return the stated picture or, where there is no such file, the one of the XML file's own name."""
    stated = file.picture
    if stated and is_there(root / stated):
        return stated
    flat = PurePosixPath(stated).name
    if stated and is_there(root / flat):
        return flat
    found = with_picture_suffix(root / file.stem)
    return found.relative_to(root).as_posix() if found else stated


def _stated_size(element: Element) -> tuple[int, int] | None:
    try:
        height, width = (int(element.findtext(f"size/{side}") or 0) for side in ("height", "width"))
    except ValueError:
        return None
    return (height, width) if height > 0 and width > 0 else None


def _region(item: Element, where: str, file_name: str, problems: Problems) -> Region:
    """Read one object; the caller turns a ValueError into a problem."""
    label = (item.findtext("name") or "").strip()
    corners = item.find("bndbox")
    if not label or corners is None:
        raise ValueError("has no name" if corners is not None else "has no <bndbox>")
    pose = (item.findtext("pose") or "").strip()
    own = item.find(OWN_ELEMENT)
    values: Mapping[str, Any] = {} if own is None else own.attrib
    category = None if pose in POSES_OF_VOC else pose
    attributes, wrong = attributes_from({"category": category, **values})
    for line in wrong:
        problems.add(file_name, f"{where}: {line}")
    box = box_from(corners.findtext(corner) for corner in CORNERS)
    outline = str(values.get("polygon") or "").replace(";", ",").split(",")
    polygon = polygon_from(outline) if outline != [""] else None
    return Region(label, box_around(polygon) if polygon else box, polygon, **attributes)


def _element(image: AnnotatedImage, root: Path) -> Element:
    annotation = Element("annotation")
    path = (root / image.file_name).absolute()
    _texts(annotation, {"folder": path.parent.name, "filename": path.name, "path": str(path)})
    _texts(SubElement(annotation, "source"), {"database": "Unknown"})
    height, width = image.size_hw_px
    _texts(SubElement(annotation, "size"), {"width": str(width), "height": str(height), "depth": "3"})
    _texts(annotation, {"segmented": "0"})
    own = {"group": image.group, "split": image.split}
    _own_element(annotation, {name: value for name, value in own.items() if value is not None})
    for region in image.regions:
        annotation.append(_object(region))
    return annotation


def _object(region: Region) -> Element:
    item = Element("object")
    attributes = attributes_of(region)
    pose = str(attributes.pop("category", UNKNOWN_POSE))
    _texts(item, {"name": region.label, "pose": pose, "truncated": "0", "difficult": "0"})
    corners = zip(CORNERS, map(number_text, region.box_xyxy_px), strict=True)
    _texts(SubElement(item, "bndbox"), dict(corners))
    if region.polygon_xy_px:
        attributes["polygon"] = ";".join(
            f"{number_text(x)},{number_text(y)}" for x, y in region.polygon_xy_px
        )
    _own_element(item, {name: _text(value) for name, value in attributes.items()})
    return item


def _texts(parent: Element, values: Mapping[str, str]) -> None:
    for tag, text in values.items():
        SubElement(parent, tag).text = text


def _own_element(parent: Element, values: dict[str, str]) -> None:
    if values:
        SubElement(parent, OWN_ELEMENT, values)


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else number_text(value)
