"""Write COCO: one JSON file for many images, with this project's own fields beside COCO's.

Own fields of an annotation: category, phrase, score, annotator, review, weight, and the three-level
`label`. Of an image: group and split. COCO's category id is the class id plus 1, as COCO counts from 1.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from distill.labels.formats.coco_reading import OWN_KEY, from_document, read
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, PolygonXy, Region, WrittenLabels
from distill.labels.sets.attributes import attributes_of
from edge.core.errors import DatasetError
from edge.core.publishing import write_new_texts

__all__ = ["document", "from_document", "read", "write"]


def write(label_set: LabelSet, target: Path) -> WrittenLabels:
    """Write a COCO file; nothing is left out.

    Raises:
        OutputError: if the file exists or cannot be written.
        DatasetError: if a region's class is not one of the set's.
    """
    root = os.path.relpath(label_set.root, target.parent)
    write_new_texts({target: json.dumps(document(label_set, root), ensure_ascii=False, indent=1) + "\n"})
    return WrittenLabels(label_set)


def document(label_set: LabelSet, root: str) -> dict[str, Any]:
    """Return a label set as COCO has it.

    Args:
        root: folder of the images relative to the file; it is noted there.
    Raises:
        DatasetError: if a region's class is not one of the set's.
    """
    own = {"root": root.replace(os.sep, "/"), "mm_per_px": label_set.mm_per_px}
    images = [_image_entry(number, image) for number, image in enumerate(label_set.images, start=1)]
    names = label_set.labels_in_use
    annotations = [
        {"image_id": number, **_annotation(region, names)}
        for number, image in enumerate(label_set.images, start=1)
        for region in image.regions
    ]
    return {
        "info": {"description": "defects on cloth", OWN_KEY: own},
        "licenses": [],
        "images": images,
        "categories": [
            {"id": number, "name": name, "supercategory": "defect"}
            for number, name in enumerate(names, start=1)
        ],
        "annotations": [{"id": number, **entry} for number, entry in enumerate(annotations, start=1)],
    }


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
