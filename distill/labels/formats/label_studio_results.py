"""Convert regions to Label Studio's `result`: a shape in per cent of the image, attributes in `meta`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from distill.labels.formats.shapes import ShapePlace, ellipse, turned_box
from distill.labels.sets.annotations import Region, ReviewState, box_around
from distill.labels.sets.attributes import attributes_from, finite_numbers, polygon_from, side_px

KINDS = ("rectangle", "polygon", "ellipse")

UNDECIDED: frozenset[ReviewState] = frozenset({"unreviewed", "queued"})

REVIEW_OF_ORIGIN: Mapping[str, ReviewState] = {
    "prediction": "accepted",
    "prediction-changed": "corrected",
    "rejected": "rejected",
}
"""What a person's work on a prediction means; `origin` is Label Studio's word but for the last."""


def value_of(region: Region, size_hw_px: tuple[int, int]) -> tuple[str, dict[str, Any]]:
    """Return a region's type and value."""
    height, width = size_hw_px
    if region.polygon_xy_px:
        points = [[100 * x / width, 100 * y / height] for x, y in region.polygon_xy_px]
        return "polygonlabels", {"points": points, "closed": True, "polygonlabels": [region.label]}
    x1, y1, x2, y2 = region.box_xyxy_px
    value = {"x": 100 * x1 / width, "y": 100 * y1 / height, "width": 100 * (x2 - x1) / width,
             "height": 100 * (y2 - y1) / height, "rotation": 0}  # fmt: skip
    return "rectanglelabels", {**value, "rectanglelabels": [region.label]}


def regions_of(
    result: Mapping[str, Any], size_hw_px: tuple[int, int]
) -> tuple[list[Region], list[str], str]:
    """Read a result that is a shape with labels.

    Returns:
        A region for each of its labels, one line for each attribute that is not permitted, and what the
        shape was read as, if it is neither box nor outline.
    Raises:
        ValueError: if it is of another type, has no label or no place.
    """
    value = result.get("value")
    labels = labels_of(result)
    if not labels:
        raise ValueError("has no label")
    if not isinstance(value, dict):
        raise ValueError("has no place")
    place = _place(str(result.get("type")), value, size_hw_px)
    if result.get("image_rotation"):
        raise ValueError(f"the image was turned by {str(result['image_rotation'])[:9]} degrees to draw it")
    meta = result.get("meta")
    values = {"score": result.get("score"), **(meta if isinstance(meta, dict) else {})}
    attributes, wrong = attributes_from(values)
    regions = [Region(label, place.box_xyxy_px, place.polygon_xy_px, **attributes) for label in labels]
    review = REVIEW_OF_ORIGIN.get(str(result.get("origin")))
    if review:
        regions = [replace(r, review=review) if r.review in UNDECIDED else r for r in regions]
    return regions, wrong, place.note


def labels_of(result: Mapping[str, Any]) -> list[str]:
    """Return the labels of a result; none where they stand in another result of the same shape."""
    value, kind = result.get("value"), str(result.get("type"))
    found = value.get(kind) if isinstance(value, dict) and kind.endswith("labels") else None
    texts = [str(text).strip() for text in found] if isinstance(found, list) else []
    return [text for text in texts if text]


def size_of(items: Iterable[Mapping[str, Any]]) -> tuple[int, int] | None:
    """Return height and width from a task's data or its results; None if none states them."""
    for item in items:
        for prefix in ("", "original_"):
            height, width = side_px(item.get(f"{prefix}height")), side_px(item.get(f"{prefix}width"))
            if height and width:
                return height, width
    return None


def _place(kind: str, value: Mapping[str, Any], size_hw_px: tuple[int, int]) -> ShapePlace:
    """Return where a shape is; `labels` stands beside shapes of any kind, and repeats their numbers."""
    shape = kind.removesuffix("labels")
    if shape == "polygon" or (not shape and "points" in value):
        return _polygon(value, size_hw_px)
    if shape == "ellipse" or (not shape and "radiusX" in value):
        return _ellipse(value, size_hw_px)
    if shape == "rectangle" or (not shape and "height" in value):
        return _rectangle(value, size_hw_px)
    raise ValueError(f"a '{kind[:40]}' is neither {' nor '.join(KINDS)}: draw it as one of them")


def _polygon(value: Mapping[str, Any], size_hw_px: tuple[int, int]) -> ShapePlace:
    points = value.get("points")
    height, width = size_hw_px
    if not isinstance(points, list) or not all(isinstance(p, list) and len(p) == 2 for p in points):
        raise ValueError("has no points")
    corners = [finite_numbers(point) for point in points]
    outline = polygon_from(number for x, y in corners for number in (x * width / 100, y * height / 100))
    return ShapePlace(box_around(outline), outline)


def _ellipse(value: Mapping[str, Any], size_hw_px: tuple[int, int]) -> ShapePlace:
    height, width = size_hw_px
    x, y, radius_x, radius_y = finite_numbers(value.get(key) for key in ("x", "y", "radiusX", "radiusY"))
    centre, radii = (x * width / 100, y * height / 100), (radius_x * width / 100, radius_y * height / 100)
    return ellipse(centre, radii, _angle_rad(value))


def _rectangle(value: Mapping[str, Any], size_hw_px: tuple[int, int]) -> ShapePlace:
    """Read a rectangle; a turned one (about its upper left corner) becomes an outline."""
    height, width = size_hw_px
    x, y, across, down = finite_numbers(value.get(key) for key in ("x", "y", "width", "height"))
    left, top = x * width / 100, y * height / 100
    across, down = across * width / 100, down * height / 100
    angle = _angle_rad(value)
    cosine, sine = math.cos(angle), math.sin(angle)
    # Label Studio turns about the upper left corner: where the centre goes, the box goes.
    centre_x = left + across / 2 * cosine - down / 2 * sine
    centre_y = top + across / 2 * sine + down / 2 * cosine
    half = (across / 2, down / 2)
    if angle == 0:
        return ShapePlace((left, top, left + across, top + down))
    box = (centre_x - half[0], centre_y - half[1], centre_x + half[0], centre_y + half[1])
    return turned_box(box, angle)


def _angle_rad(value: Mapping[str, Any]) -> float:
    [degrees] = finite_numbers([value.get("rotation") or 0])
    return math.radians(degrees)
