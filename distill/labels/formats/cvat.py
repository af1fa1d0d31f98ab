"""Write CVAT for images, XML 1.1, for review: boxes and outlines, their attributes beside them.

CVAT keeps an attribute only if the task's labels declare it, so `write` puts a second file beside the
first, NAME.labels.json: paste it into a new task under "Raw" before you upload the annotations. Group and
split stand on a tag of each image: `subset` belongs to exports of projects, and readers of a task drop
every image that has one. A region with an outline is drawn as a polygon, any other as a box.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from distill.labels.formats.cvat_reading import CORNERS, IMAGE_ATTRIBUTES, IMAGE_TAG, read
from distill.labels.sets.annotations import REVIEW_STATES, AnnotatedImage, LabelSet, Region, WrittenLabels
from distill.labels.sets.attributes import ATTRIBUTES, attributes_of
from distill.labels.sets.documents import number_text, text_from_xml
from edge.core.publishing import write_new_texts

__all__ = ["read", "write"]


def write(label_set: LabelSet, target: Path) -> WrittenLabels:
    """Write an XML file and the labels of the task beside it; nothing is left out.

    Raises:
        OutputError: if a file exists or cannot be written.
        DatasetError: if a name holds a character that XML cannot hold.
    """
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    labels = SubElement(SubElement(SubElement(root, "meta"), "task"), "labels")
    declared = _declared_labels(label_set)
    for label in declared:
        labels.append(_label_element(label))
    for number, image in enumerate(label_set.images):
        root.append(_image_element(number, image))
    raw = json.dumps(declared, ensure_ascii=False, indent=1) + "\n"
    write_new_texts({target: text_from_xml(root), target.with_suffix(".labels.json"): raw})
    return WrittenLabels(label_set)


def _declared_labels(label_set: LabelSet) -> list[dict[str, Any]]:
    """Return the labels of the task in the form of CVAT's constructor."""
    attributes = [_declared(name) for name in ATTRIBUTES]
    labels = [{"name": name, "type": "any", "attributes": attributes} for name in label_set.labels_in_use]
    of_image = [_declared(name) for name in IMAGE_ATTRIBUTES]
    return [*labels, {"name": IMAGE_TAG, "type": "tag", "attributes": of_image}]


def _declared(name: str) -> dict[str, Any]:
    values = list(REVIEW_STATES) if name == "review" else [""]
    kind = "select" if name == "review" else "text"
    return {
        "name": name,
        "mutable": False,
        "input_type": kind,
        "default_value": values[0],
        "values": values,
    }


def _label_element(label: Mapping[str, Any]) -> Element:
    element = Element("label")
    SubElement(element, "name").text = label["name"]
    SubElement(element, "type").text = label["type"]
    attributes = SubElement(element, "attributes")
    for declared in label["attributes"]:
        attribute = SubElement(attributes, "attribute")
        for key in ("name", "input_type", "default_value"):
            SubElement(attribute, key).text = declared[key]
        SubElement(attribute, "mutable").text = "False"
        SubElement(attribute, "values").text = "\n".join(declared["values"])
    return element


def _image_element(number: int, image: AnnotatedImage) -> Element:
    height, width = image.size_hw_px
    values = {"id": str(number), "name": image.file_name, "width": str(width), "height": str(height)}
    element = Element("image", values)
    for region in image.regions:
        element.append(_shape(region))
    own = {name: getattr(image, name) for name in IMAGE_ATTRIBUTES if getattr(image, name)}
    if own:
        _attributes(SubElement(element, "tag", {"label": IMAGE_TAG, "source": "file"}), own)
    return element


def _shape(region: Region) -> Element:
    common = {"label": region.label, "source": "file", "occluded": "0", "z_order": "0"}
    if region.polygon_xy_px:
        points = ";".join(f"{number_text(x)},{number_text(y)}" for x, y in region.polygon_xy_px)
        shape = Element("polygon", {**common, "points": points})
    else:
        corners = dict(zip(CORNERS, map(number_text, region.box_xyxy_px), strict=True))
        shape = Element("box", {**common, **corners})
    _attributes(shape, {"review": region.review, **attributes_of(region)})
    return shape


def _attributes(parent: Element, values: Mapping[str, str | float]) -> None:
    for name, value in values.items():
        text = value if isinstance(value, str) else number_text(value)
        SubElement(parent, "attribute", {"name": name}).text = text
