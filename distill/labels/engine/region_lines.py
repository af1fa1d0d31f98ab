"""Convert regions to plain values for a line of JSON, short and the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill.labels.sets.annotations import Region
from distill.labels.sets.attributes import attributes_from, attributes_of, box_from, polygon_from

BOX_DIGITS = 2
SCORE_DIGITS = 6
"""Of what is written: a hundredth of a pixel, a millionth of a score."""


def values_of(region: Region) -> dict[str, Any]:
    """Return what is known of a region; what is not known is left out."""
    values: dict[str, Any] = {
        "label": region.label,
        "box_xyxy_px": [round(side, BOX_DIGITS) for side in region.box_xyxy_px],
    }
    if region.polygon_xy_px:
        values["polygon_xy_px"] = [round(c, BOX_DIGITS) for corner in region.polygon_xy_px for c in corner]
    known = attributes_of(region)
    return values | {
        name: round(value, SCORE_DIGITS) if isinstance(value, float) else value
        for name, value in known.items()
    }


def region_from(values: Mapping[str, Any]) -> Region:
    """Read a region that `values_of` wrote.

    Raises:
        ValueError: if a box or a value is not permitted.
        KeyError: if a label or a box is missing.
    """
    attributes, wrong = attributes_from(values)
    if wrong:
        raise ValueError(wrong[0])
    outline = polygon_from(values["polygon_xy_px"]) if values.get("polygon_xy_px") else None
    return Region(str(values["label"]), box_from(values["box_xyxy_px"]), outline, **attributes)
