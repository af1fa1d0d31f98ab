"""CVAT for images, XML 1.1, for review: boxes and outlines, what is known of them as attributes.

CVAT keeps an attribute only if the task's labels declare it, so `write` puts a second file beside the
first, NAME.labels.json: paste it into a new task under "Raw" before you upload the annotations. Group and
split stand on a tag of each picture: `subset` belongs to exports of projects, and readers of a task drop
every picture that has one. A region with an outline is drawn as a polygon, any other as a box.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from distill.labels.annotations import (
    REVIEW_STATES,
    AnnotatedImage,
    LabelSet,
    Region,
    Written,
    box_around,
)
from distill.labels.attributes import ATTRIBUTES, attributes_from, attributes_of, box_from, polygon_from
from distill.labels.documents import number_text, read_xml, text_from_xml
from distill.labels.picture_files import likely_folders, root_of
from distill.labels.problems import Problems
from edge.errors import DatasetError
from edge.sinks.publishing import write_new_texts

PICTURE_TAG = "loomsight picture"
PICTURE_ATTRIBUTES = ("group", "split")
CORNERS = ("xtl", "ytl", "xbr", "ybr")


def read(source: Path, pictures: Path | None = None) -> LabelSet:
    """Read an XML file, as `write` left it or as CVAT exported it.

    Shapes other than boxes, polygons and tags are named as problems.

    Raises:
        DatasetError: if it cannot be read or is of another kind.
    """
    root_element = read_xml(source)
    if root_element.tag != "annotations" or root_element.find("track") is not None:
        raise DatasetError(
            f"{source} is not in the form 'CVAT for images 1.1'.", "Export the task again in that form."
        )
    problems = Problems()
    images = [
        image for item in root_element.findall("image") for image in _images(item, problems)
    ]  # fmt: skip
    declared = (name.text or "" for name in root_element.findall("meta//labels/label/name"))
    used = (region.label for image in images for region in image.regions)
    class_names = dict.fromkeys(name for name in (*declared, *used) if name not in ("", PICTURE_TAG))
    names = [image.file_name for image in images]
    root = root_of(names, [pictures] if pictures else likely_folders(source))
    ordered = tuple(sorted(images, key=lambda image: image.file_name))
    return LabelSet(root, tuple(class_names), ordered, problems.by_file())


def write(label_set: LabelSet, target: Path) -> Written:
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
    return Written(label_set)


def _declared_labels(label_set: LabelSet) -> list[dict[str, Any]]:
    """Return the labels of the task in the form of CVAT's constructor."""
    attributes = [_declared(name) for name in ATTRIBUTES]
    labels = [{"name": name, "type": "any", "attributes": attributes} for name in label_set.class_names]
    of_picture = [_declared(name) for name in PICTURE_ATTRIBUTES]
    return [*labels, {"name": PICTURE_TAG, "type": "tag", "attributes": of_picture}]


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
    own = {name: getattr(image, name) for name in PICTURE_ATTRIBUTES if getattr(image, name)}
    if own:
        _attributes(SubElement(element, "tag", {"label": PICTURE_TAG, "source": "file"}), own)
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


def _images(item: Element, problems: Problems) -> list[AnnotatedImage]:
    name = item.get("name", "").replace("\\", "/")
    try:
        size = int(item.get("height", "0")), int(item.get("width", "0"))
    except ValueError:
        size = (0, 0)
    if not name or min(size) <= 0:
        problems.add(name or f"image {item.get('id')}", "the CVAT file does not give its name and size")
        return []
    regions, own = [], {"split": item.get("subset") or None}
    for number, shape in enumerate(item, start=1):
        if shape.tag == "tag":
            values = _values(shape) if shape.get("label") == PICTURE_TAG else {}
            own |= {key: values[key] for key in PICTURE_ATTRIBUTES if values.get(key)}
            continue
        try:
            regions.append(_region(shape, f"shape {number}", name, problems))
        except ValueError as error:
            problems.add(name, f"shape {number}: {error}")
    return [AnnotatedImage(name, size, tuple(regions), own.get("group"), own.get("split"))]


def _region(shape: Element, where: str, name: str, problems: Problems) -> Region:
    """Read one shape; the caller turns a ValueError into a problem."""
    label = shape.get("label", "").strip()
    if not label or shape.tag not in ("box", "polygon"):
        raise ValueError("has no label" if not label else f"a {shape.tag} is neither box nor polygon")
    if float(shape.get("rotation") or 0):
        raise ValueError("a turned box cannot be kept: draw it as a polygon")
    attributes, wrong = attributes_from(_values(shape))
    for line in wrong:
        problems.add(name, f"{where}: {line}")
    if shape.tag == "box":
        return Region(label, box_from(shape.get(corner) for corner in CORNERS), **attributes)
    outline = polygon_from(shape.get("points", "").replace(";", ",").split(","))
    return Region(label, box_around(outline), outline, **attributes)


def _values(shape: Element) -> dict[str, str]:
    return {
        item.get("name", ""): (item.text or "").strip() for item in shape.findall("attribute")
    }  # fmt: skip
