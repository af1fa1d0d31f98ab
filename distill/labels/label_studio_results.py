"""One region as Label Studio's `result`: a rectangle or polygon in per cent, attributes in `meta`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from distill.labels.annotations import BoxXyxy, PolygonXy, Region, ReviewState, box_around
from distill.labels.attributes import attributes_from, finite_numbers, polygon_from

KINDS = ("rectanglelabels", "polygonlabels")

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


def region_of(result: Mapping[str, Any], size_hw_px: tuple[int, int]) -> tuple[Region, list[str]]:
    """Read a result.

    Returns:
        The region, and one line for each attribute that is not permitted.
    Raises:
        ValueError: if it is of another type, has no label or no place.
    """
    kind, value = result.get("type"), result.get("value")
    if kind not in KINDS or not isinstance(value, dict):
        raise ValueError(f"a '{kind}' is neither {' nor '.join(KINDS)}")
    labels = value.get(kind)
    if not isinstance(labels, list) or not labels or not str(labels[0]).strip():
        raise ValueError("has no label")
    meta = result.get("meta")
    values = {"score": result.get("score"), **(meta if isinstance(meta, dict) else {})}
    attributes, wrong = attributes_from(values)
    place = _polygon if kind == "polygonlabels" else _rectangle
    box, outline = place(value, size_hw_px)
    region = Region(str(labels[0]).strip(), box, outline, **attributes)
    review = REVIEW_OF_ORIGIN.get(str(result.get("origin")))
    if review and region.review in UNDECIDED:
        region = replace(region, review=review)
    return region, wrong


def size_of(items: Iterable[Mapping[str, Any]]) -> tuple[int, int] | None:
    """Return height and width from a task's data or its results; None if none states them."""
    for item in items:
        for prefix in ("", "original_"):
            height, width = item.get(f"{prefix}height"), item.get(f"{prefix}width")
            if isinstance(height, int) and isinstance(width, int) and min(height, width) > 0:
                return height, width
    return None


def _polygon(value: Mapping[str, Any], size_hw_px: tuple[int, int]) -> tuple[BoxXyxy, PolygonXy]:
    points = value.get("points")
    height, width = size_hw_px
    if not isinstance(points, list) or not all(isinstance(p, list) and len(p) == 2 for p in points):
        raise ValueError("has no points")
    corners = [finite_numbers(point) for point in points]
    outline = polygon_from(number for x, y in corners for number in (x * width / 100, y * height / 100))
    return box_around(outline), outline


def _rectangle(value: Mapping[str, Any], size_hw_px: tuple[int, int]) -> tuple[BoxXyxy, PolygonXy | None]:
    """Read a rectangle; a turned one (about its upper left corner) becomes an outline."""
    height, width = size_hw_px
    x, y, across, down = finite_numbers(value.get(key) for key in ("x", "y", "width", "height"))
    left, top = x * width / 100, y * height / 100
    across, down = across * width / 100, down * height / 100
    angle = math.radians(*finite_numbers([value.get("rotation") or 0]))
    if angle == 0:
        return (left, top, left + across, top + down), None
    cosine, sine = math.cos(angle), math.sin(angle)
    outline = tuple(
        (left + right * cosine - below * sine, top + right * sine + below * cosine)
        for right, below in ((0, 0), (across, 0), (across, down), (0, down))
    )
    return box_around(outline), outline
