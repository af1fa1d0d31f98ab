"""Write Label Studio's JSON, for review: one task per image, places in per cent of the image.

What an annotator found and nobody has looked at goes out as predictions, everything else as annotations.
When it comes back, a person's annotation holds: a prediction kept is accepted, one changed is corrected,
one missing is rejected. Attributes stand in the `meta` of each region, the score also where Label Studio
shows it. Beside the tasks `write` puts NAME.config.xml, the labelling configuration of the project.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement

from distill.labels.formats.label_studio_reading import read
from distill.labels.formats.label_studio_results import UNDECIDED, value_of
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, Region, WrittenLabels
from distill.labels.sets.attributes import attributes_of
from distill.labels.sets.documents import text_from_xml
from edge.core.publishing import write_new_texts

__all__ = ["read", "write"]

LOCAL_FILES = "/data/local-files/?d="


def write(label_set: LabelSet, target: Path) -> WrittenLabels:
    """Write the tasks, and the labelling configuration beside them; nothing is left out.

    Raises:
        OutputError: if a file exists or cannot be written.
        DatasetError: if a class name holds a character that XML cannot hold.
    """
    tasks = [_task(number, image) for number, image in enumerate(label_set.images, start=1)]
    text = json.dumps(tasks, ensure_ascii=False, indent=1) + "\n"
    config = text_from_xml(_configuration(label_set.labels_in_use), declares_encoding=False)
    write_new_texts({target: text, target.with_suffix(".config.xml"): config})
    return WrittenLabels(label_set)


def _configuration(class_names: Iterable[str]) -> Element:
    view = Element("View")
    SubElement(view, "Image", {"name": "image", "value": "$image"})
    names = list(class_names)
    for tag, name in (("RectangleLabels", "label"), ("PolygonLabels", "outline")):
        control = SubElement(view, tag, {"name": name, "toName": "image"})
        for class_name in names:
            SubElement(control, "Label", {"value": class_name})
    return view


def _task(number: int, image: AnnotatedImage) -> dict[str, Any]:
    height, width = image.size_hw_px
    address = LOCAL_FILES + quote(image.file_name, errors="surrogatepass")  # the writer refuses such a name
    data = {"image": address, "file_name": image.file_name,
            "width": width, "height": height, "group": image.group, "split": image.split}  # fmt: skip
    results = [_result(place, region, image) for place, region in enumerate(image.regions, start=1)]
    task: dict[str, Any] = {"id": number, "data": data}
    if _awaits_review(image.regions):
        scores = [region.score for region in image.regions if region.score is not None]
        version = ", ".join(sorted({region.annotator for region in image.regions if region.annotator}))
        prediction: dict[str, Any] = {"model_version": version, "result": results}
        if scores:
            prediction["score"] = sum(scores) / len(scores)
        return task | {"predictions": [prediction]}
    return task | {"annotations": [{"result": results}]}


def _awaits_review(regions: Iterable[Region]) -> bool:
    found = list(regions)
    is_machines = any(region.annotator or region.score is not None for region in found)
    return is_machines and all(region.review in UNDECIDED for region in found)


def _result(place: int, region: Region, image: AnnotatedImage) -> dict[str, Any]:
    height, width = image.size_hw_px
    kind, value = value_of(region, image.size_hw_px)
    return {
        "id": f"r{place}",
        "type": kind,
        "from_name": "label" if kind == "rectanglelabels" else "outline",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": value,
        "meta": attributes_of(region),
        **({} if region.score is None else {"score": region.score}),
    }
