"""COCO: one JSON file for many pictures, with this project's own fields beside COCO's.

Own fields of an annotation: category, phrase, score, annotator, review, weight, and the three-level
`label`. Of an image: group and split. COCO's category id is the class id plus 1, as COCO counts from 1.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.labels.annotations import AnnotatedImage, LabelSet, PolygonXy, Region, Written, box_around
from distill.labels.attributes import attributes_from, attributes_of, box_from, polygon_from
from distill.labels.documents import read_json
from distill.labels.picture_files import likely_folders, root_of
from distill.labels.problems import Problems
from edge.errors import DatasetError
from edge.sinks.publishing import write_new_texts

OWN_KEY = "loomsight"


def read(source: Path, pictures: Path | None = None) -> LabelSet:
    """Read a COCO file; masks as run lengths are passed over, their boxes are kept.

    Raises:
        DatasetError: if it is missing, no JSON, or lacks images, annotations or categories.
    """
    return from_document(read_json(source), source, pictures)


def write(label_set: LabelSet, target: Path) -> Written:
    """Write a COCO file; nothing is left out.

    Raises:
        OutputError: if the file exists or cannot be written.
        DatasetError: if a region's class is not one of the set's.
    """
    root = os.path.relpath(label_set.root, target.parent)
    write_new_texts({target: json.dumps(document(label_set, root), ensure_ascii=False, indent=1) + "\n"})
    return Written(label_set)


def document(label_set: LabelSet, root: str) -> dict[str, Any]:
    """Return a label set as COCO has it.

    Args:
        root: folder of the pictures relative to the file; it is noted there.
    Raises:
        DatasetError: if a region's class is not one of the set's.
    """
    own = {"root": root.replace(os.sep, "/"), "mm_per_px": label_set.mm_per_px}
    images = [_image_entry(number, image) for number, image in enumerate(label_set.images, start=1)]
    annotations = [
        {"image_id": number, **_annotation(region, label_set.class_names)}
        for number, image in enumerate(label_set.images, start=1)
        for region in image.regions
    ]
    return {
        "info": {"description": "defects on cloth", OWN_KEY: own},
        "licenses": [],
        "images": images,
        "categories": [
            {"id": number, "name": name, "supercategory": "defect"}
            for number, name in enumerate(label_set.class_names, start=1)
        ],
        "annotations": [{"id": number, **entry} for number, entry in enumerate(annotations, start=1)],
    }


def from_document(content: Any, source: Path, pictures: Path | None = None) -> LabelSet:
    """Read what `document` returns, or another program's.

    Raises:
        DatasetError: if it lacks images, annotations or categories.
    """
    tables = [content.get(key) if isinstance(content, dict) else None
              for key in ("images", "annotations", "categories")]  # fmt: skip
    if not all(isinstance(table, list) and all(isinstance(row, dict) for row in table) for table in tables):
        raise DatasetError(
            f"{source} is no COCO file.", "It needs the lists images, annotations and categories."
        )
    images, annotations, categories = tables
    problems = Problems()
    names = {str(row.get("id")): str(row.get("name", "")).strip() for row in categories or []}
    regions = _regions_by_image(annotations or [], names, problems)
    own = _own(content)
    ids = {str(row.get("id")) for row in images or []}
    for image_id in sorted(regions.keys() - ids):
        problems.add(source.name, f"annotations of image {image_id}, which is not listed")
    read_images = [image for row in images or [] for image in _images(row, regions, problems)]
    hint = own.get("root")
    folders = [pictures] if pictures else likely_folders(source, hint if isinstance(hint, str) else None)
    root = root_of((image.file_name for image in read_images), folders)
    ordered = tuple(sorted(read_images, key=lambda image: image.file_name))
    scale = own.get("mm_per_px")
    mm_per_px = float(scale) if isinstance(scale, (int, float)) and scale > 0 else None
    return LabelSet(root, tuple(filter(None, names.values())), ordered, problems.by_file(), mm_per_px)


def _own(content: Mapping[str, Any]) -> Mapping[str, Any]:
    info = content.get("info")
    own = info.get(OWN_KEY) if isinstance(info, dict) else None
    return own if isinstance(own, dict) else {}


def _image_entry(number: int, image: AnnotatedImage) -> dict[str, Any]:
    height, width = image.size_hw_px
    entry = {"id": number, "file_name": image.file_name, "height": height, "width": width}
    own = {"group": image.group, "split": image.split}
    return entry | {name: value for name, value in own.items() if value is not None}


def _annotation(region: Region, class_names: tuple[str, ...]) -> dict[str, Any]:
    """Return a row; what is not known has no field, as other programs take no null for a number."""
    if region.label not in class_names:
        raise DatasetError(f"'{region.label}' is not one of the set's classes.", "Add it to them.")
    x1, y1, x2, y2 = region.box_xyxy_px
    outline = [[number for corner in region.polygon_xy_px or () for number in corner]]
    levels = [region.phrase, region.category, region.label]
    return {
        "category_id": class_names.index(region.label) + 1,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": _area_px(region.polygon_xy_px) if region.polygon_xy_px else (x2 - x1) * (y2 - y1),
        "segmentation": outline if region.polygon_xy_px else [],
        "iscrowd": 0,
        "label": " | ".join(level for level in levels if level),
        "review": region.review,
        "weight": region.weight,
        **attributes_of(region),
    }


def _area_px(polygon: PolygonXy) -> float:
    """Compute the area of an outline (shoelace formula)."""
    corners = zip(polygon, polygon[1:] + polygon[:1], strict=True)
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in corners)) / 2


def _regions_by_image(
    annotations: list[dict[str, Any]], names: Mapping[str, str], problems: Problems
) -> dict[str, list[Region]]:
    regions = defaultdict(list)
    for row in annotations:
        where = f"annotation {row.get('id')}"
        try:
            label = names.get(str(row.get("category_id")))
            if not label:
                raise ValueError(f"category {row.get('category_id')} has no name")
            attributes, wrong = attributes_from(row)
            for line in wrong:
                problems.add(where, line)
            regions[str(row.get("image_id"))].append(_region(label, row, attributes))
        except ValueError as error:
            problems.add(where, str(error))
    return dict(regions)


def _region(label: str, row: Mapping[str, Any], attributes: Mapping[str, Any]) -> Region:
    pieces = row.get("segmentation")
    polygon = _outline(pieces[0]) if isinstance(pieces, list) and len(pieces) == 1 else None
    x, y, width, height = box_from(_list(row.get("bbox")))
    box = box_around(polygon) if polygon else (x, y, x + width, y + height)
    return Region(label, box, polygon, **attributes)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _outline(numbers: Any) -> PolygonXy | None:
    """Read an outline; other programs leave broken ones beside a good box, which then holds."""
    try:
        return polygon_from(numbers)
    except (ValueError, TypeError):
        return None


def _images(
    row: Mapping[str, Any], regions: Mapping[str, list[Region]], problems: Problems
) -> list[AnnotatedImage]:
    name = str(row.get("file_name") or "").replace("\\", "/")
    height, width = row.get("height"), row.get("width")
    if not name or not isinstance(height, int) or not isinstance(width, int) or min(height, width) <= 0:
        problems.add(name or f"image {row.get('id')}", "the COCO file does not give its name and size")
        return []
    group, split = (None if row.get(key) is None else str(row[key]) for key in ("group", "split"))
    return [AnnotatedImage(name, (height, width), tuple(regions.get(str(row.get("id")), ())), group, split)]
