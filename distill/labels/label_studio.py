"""Label Studio's JSON, for review: one task per picture, places in per cent of the picture.

What an annotator found and nobody has looked at goes out as predictions, everything else as annotations.
When it comes back, a person's annotation holds: a prediction kept is accepted, one changed is corrected,
one missing is rejected. Attributes stand in the `meta` of each region, the score also where Label Studio
shows it. Beside the tasks `write` puts NAME.config.xml, the labelling configuration of the project.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.etree.ElementTree import Element, SubElement

from distill.labels.annotations import AnnotatedImage, LabelSet, Region, Written
from distill.labels.attributes import attributes_of
from distill.labels.documents import read_json, text_from_xml
from distill.labels.label_studio_results import UNDECIDED, region_of, size_of, value_of
from distill.labels.picture_files import likely_folders, root_of, size_hw_px
from distill.labels.problems import Problems
from edge.errors import DatasetError
from edge.sinks.publishing import write_new_texts

LOCAL_FILES = "/data/local-files/?d="
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
"""Label Studio puts this before the name of an uploaded picture."""


def read(source: Path, pictures: Path | None = None) -> LabelSet:
    """Read a JSON export, or what `write` left.

    Raises:
        DatasetError: if it cannot be read or is no list of tasks.
    """
    tasks = read_json(source)
    if not isinstance(tasks, list) or not all(
        isinstance(task, dict) and isinstance(task.get("data"), dict) for task in tasks
    ):
        raise DatasetError(
            f"{source} is no list of Label Studio's tasks.", "Export the project as JSON, not JSON-MIN."
        )
    problems = Problems()
    named = [(_file_name(task["data"]), task) for task in tasks]
    root = root_of((name for name, _ in named), [pictures] if pictures else likely_folders(source))
    images = []
    for name, task in named:
        try:
            images.append(_image(name, task, root, problems))
        except (DatasetError, ValueError) as error:
            problems.add(name, error.problem if isinstance(error, DatasetError) else str(error))
    labels = sorted({region.label for image in images for region in image.regions})
    ordered = tuple(sorted(images, key=lambda image: image.file_name))
    return LabelSet(root, tuple(labels), ordered, problems.by_file())


def write(label_set: LabelSet, target: Path) -> Written:
    """Write the tasks, and the labelling configuration beside them; nothing is left out.

    Raises:
        OutputError: if a file exists or cannot be written.
        DatasetError: if a class name holds a character that XML cannot hold.
    """
    tasks = [_task(number, image) for number, image in enumerate(label_set.images, start=1)]
    text = json.dumps(tasks, ensure_ascii=False, indent=1) + "\n"
    config = text_from_xml(_configuration(label_set.class_names), declares_encoding=False)
    write_new_texts({target: text, target.with_suffix(".config.xml"): config})
    return Written(label_set)


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
    data = {"image": LOCAL_FILES + quote(image.file_name), "file_name": image.file_name,
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


def _file_name(data: Mapping[str, Any]) -> str:
    """Return the name of a task's picture: as stated, or from where Label Studio fetches it."""
    if data.get("file_name"):
        return str(data["file_name"])
    try:
        address = urlsplit(str(data.get("image") or ""))
    except ValueError:
        return ""
    local = parse_qs(address.query).get("d")
    if local:
        return local[0].lstrip("/")
    return _UPLOADED.sub("", unquote(address.path).split("/")[-1])


def _image(name: str, task: Mapping[str, Any], root: Path, problems: Problems) -> AnnotatedImage:
    if not name:
        raise ValueError(f"task {task.get('id')} names no picture")
    data = task["data"]
    results = _results(task)
    size = size_of([data]) or size_of(results) or size_hw_px(root / name)
    regions = []
    for number, result in enumerate(results, start=1):
        try:
            region, wrong = region_of(result, size)
        except ValueError as error:
            problems.add(name, f"result {number}: {error}")
            continue
        for line in wrong:
            problems.add(name, f"result {number}: {line}")
        regions.append(region)
    group, split = (None if data.get(key) is None else str(data[key]) for key in ("group", "split"))
    return AnnotatedImage(name, size, tuple(regions), group, split)


def _results(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the results that hold: the last annotation's and what it rejected, else the predictions'."""
    done = [item for item in _dicts(task.get("annotations")) if not item.get("was_cancelled")]
    predicted = [
        result for item in _dicts(task.get("predictions"))[-1:] for result in _dicts(item.get("result"))
    ]
    if not done:
        return predicted
    kept = _dicts(done[-1].get("result"))
    ids = {str(result.get("id")) for result in kept}
    rejected = [
        {**result, "origin": "rejected"} for result in predicted if str(result.get("id")) not in ids
    ]
    return kept + rejected


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
