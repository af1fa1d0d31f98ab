"""Florence-2's training lines: one JSON object per picture, its places as location tokens.

    {"prefix":"<OD>","suffix":"drop<loc_732><loc_481><loc_748><loc_501>","image":"0 (1).jpg"}

A box comes back within half a bin, that is a two-thousandth of the picture's side. What the form has no
place for (score, annotator, review state, outline, group, split) stands in a key of its own, `loomsight`,
only on lines that need it; loaders of such files pass over keys they do not know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from distill.labels.annotations import AnnotatedImage, LabelSet, PolygonXy, Region, Written, box_around
from distill.labels.attributes import attributes_from, attributes_of, polygon_from
from distill.labels.documents import json_from_text, read_text
from distill.labels.location_tokens import BINS, parse_boxes, parse_polygons, write_boxes
from distill.labels.picture_files import likely_folders, root_of, size_hw_px
from distill.labels.problems import Problems
from edge.errors import DatasetError
from edge.sinks.publishing import write_new_texts

PREFIX = "<OD>"
OWN_KEY = "loomsight"

_BIN = re.compile(r"<loc_(\d+)>")


def read(source: Path, pictures: Path | None = None) -> LabelSet:
    """Read a JSONL file; lines of other tasks than object detection are named as problems.

    Args:
        source: the file.
        pictures: folder of the pictures, whose sizes are needed; None: in or beside the file's folder.
    Raises:
        DatasetError: if the file cannot be read.
    """
    problems = Problems()
    rows = _rows(source, problems)
    names = [str(row["image"]).replace("\\", "/") for _, row in rows]
    root = root_of(names, [pictures] if pictures else likely_folders(source))
    images: dict[str, AnnotatedImage] = {}
    for name, (where, row) in zip(names, rows, strict=True):
        try:
            image = _image(name, row, root, where, problems)
        except (DatasetError, ValueError) as error:
            problems.add(where, error.problem if isinstance(error, DatasetError) else str(error))
            continue
        earlier = images.get(name)
        regions = (earlier.regions if earlier else ()) + image.regions
        images[name] = replace(image, regions=regions)
    ordered = tuple(images[name] for name in sorted(images))
    labels = sorted({region.label for image in ordered for region in image.regions})
    return LabelSet(root, tuple(labels), ordered, problems.by_file())


def write(label_set: LabelSet, target: Path) -> Written:
    """Write one line per picture; nothing is left out.

    Raises:
        OutputError: if the file exists or cannot be written.
        DatasetError: if a region has no label.
    """
    write_new_texts({target: "".join(f"{line(image)}\n" for image in label_set.images)})
    return Written(label_set)


def line(image: AnnotatedImage) -> str:
    """Return the line of one picture.

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


def _rows(source: Path, problems: Problems) -> list[tuple[str, dict[str, Any]]]:
    """Return (place, object) of each line of object detection."""
    rows = []
    for number, text in enumerate(read_text(source).split("\n"), start=1):
        where = f"line {number}"
        if not text.strip():
            continue
        try:
            row = json_from_text(text, where)
        except DatasetError as error:
            problems.add(where, error.problem)
            continue
        if not isinstance(row, dict) or not all(
            isinstance(row.get(key), str) for key in ("suffix", "image")
        ):
            problems.add(where, "needs the texts prefix, suffix and image")
        elif row.get("prefix", PREFIX) != PREFIX:
            problems.add(where, f"prefix '{row['prefix']}' is not {PREFIX}: passed over")
        else:
            rows.append((where, row))
    return rows


def _image(name: str, row: Mapping[str, Any], root: Path, where: str, problems: Problems) -> AnnotatedImage:
    size = size_hw_px(root / name)
    suffix = str(row["suffix"])
    for number in _BIN.findall(suffix):
        if int(number) >= BINS:
            problems.add(where, f"<loc_{number}> is no token of Florence-2; read as <loc_{BINS - 1}>")
    own = row.get(OWN_KEY)
    own = own if isinstance(own, dict) else {}
    regions = _regions(suffix, size)
    regions = [
        _with_own(region, values, where, problems)
        for region, values in zip(regions, _own_of_regions(own, len(regions)), strict=True)
    ]
    group, split = (None if own.get(key) is None else str(own[key]) for key in ("group", "split"))
    return AnnotatedImage(name, size, tuple(regions), group, split)


def _regions(suffix: str, size: tuple[int, int]) -> list[Region]:
    """Read boxes, then outlines where there are any; each piece of an outline is a region of its own."""
    regions = [Region(label, box) for label, box in parse_boxes(suffix, size)]
    if "<poly>" in suffix:
        for label, pieces in parse_polygons(suffix, size):
            regions += [Region(label, box_around(piece), piece) for piece in pieces]
    if any(not region.label for region in regions):
        raise ValueError("a place stands before any label")
    if not regions and suffix.strip():
        raise ValueError(f"'{suffix[:40]}' holds no place")
    return regions


def _own_of_regions(own: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Return the own values per region; none if somebody changed the number of regions since."""
    rows = own.get("regions")
    if isinstance(rows, list) and len(rows) == count and all(isinstance(row, dict) for row in rows):
        return rows
    return [{} for _ in range(count)]


def _with_own(region: Region, values: Mapping[str, Any], where: str, problems: Problems) -> Region:
    attributes, wrong = attributes_from(values)
    for text in wrong:
        problems.add(where, text)
    outline: PolygonXy | None = polygon_from(values["polygon"]) if values.get("polygon") else None
    if outline:
        return replace(region, box_xyxy_px=box_around(outline), polygon_xy_px=outline, **attributes)
    return replace(region, **attributes)
