"""Write LabelImg's form: a folder with one Pascal VOC XML file per image.

LabelImg writes the edges of a box as pixel numbers counted from the left and upper edge of the image,
right and lower edge exclusive: a box over a whole image ends at its width. They are taken as they
stand (a 1 that LabelImg writes in place of 0 stays a 1) and written the same way, with decimals if need be.

`<pose>` holds the category. What VOC has no place for stands in an element of its own, `<loomsight .../>`,
which other programs skip; LabelImg drops it when it saves a file again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from distill.labels.formats.voc_reading import CORNERS, OWN_ELEMENT, UNKNOWN_POSE, read
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, Region, WrittenLabels
from distill.labels.sets.attributes import attributes_of
from distill.labels.sets.documents import number_text, text_from_xml
from edge.core.errors import OutputError
from edge.core.publishing import name_below, new_folder

__all__ = ["read", "write"]


def write(label_set: LabelSet, target: Path) -> WrittenLabels:
    """Write one XML file per image into a new folder.

    Raises:
        OutputError: if the folder is not empty or cannot be written, or two images share a name.
        DatasetError: if a name holds a character that XML cannot hold.
    """
    with new_folder(target) as folder:
        for image in label_set.images:
            path = (folder / name_below(image.file_name)).with_suffix(".xml")
            if path.exists():
                raise OutputError(
                    f"{image.file_name}: another image has the same name but for its suffix.",
                    "Rename one: LabelImg keeps one XML file for both.",
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text_from_xml(_element(image, label_set.root)), encoding="utf-8")
    return WrittenLabels(label_set)


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
