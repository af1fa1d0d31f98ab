"""Write Florence-2's training lines: one JSON object per image, its places as location tokens.

    {"prefix":"<OD>","suffix":"drop<loc_732><loc_481><loc_748><loc_501>","image":"0 (1).jpg"}

A box comes back within half a bin, that is a two-thousandth of the image's side. What the form has no
place for (score, annotator, review state, outline, group, split) stands in a key of its own, `loomsight`,
only on lines that need it; loaders of such files skip keys they do not know.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from distill.labels.formats.florence_reading import OWN_KEY, PREFIX, read
from distill.labels.formats.location_tokens import write_boxes
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, Region, WrittenLabels
from distill.labels.sets.attributes import attributes_of
from edge.core.publishing import write_new_texts

__all__ = ["line", "read", "write"]


def write(label_set: LabelSet, target: Path) -> WrittenLabels:
    """Write one line per image; nothing is left out.

    Raises:
        OutputError: if the file exists or cannot be written.
        DatasetError: if a region has no label.
    """
    write_new_texts({target: "".join(f"{line(image)}\n" for image in label_set.images)})
    return WrittenLabels(label_set)


def line(image: AnnotatedImage) -> str:
    """Return the line of one image.

    Raises:
        DatasetError: if a region has no label.
    """
    places = [write_boxes(region.label, region.box_xyxy_px, image.size_hw_px) for region in image.regions]
    row = {"prefix": PREFIX, "suffix": "".join(places), "image": image.file_name, **_own(image)}
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))


def _own(image: AnnotatedImage) -> dict[str, Any]:
    """Return what the form has no place for; nothing where it has a place for everything."""
    own: dict[str, Any] = {"group": image.group, "split": image.split}
    own = {name: value for name, value in own.items() if value is not None}
    regions = [_own_of_region(region) for region in image.regions]
    if any(regions):
        own["regions"] = regions
    return {OWN_KEY: own} if own else {}


def _own_of_region(region: Region) -> dict[str, Any]:
    outline = [number for corner in region.polygon_xy_px or () for number in corner]
    return attributes_of(region) | ({"polygon": outline} if outline else {})
