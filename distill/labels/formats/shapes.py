"""Convert shapes of other programs to boxes and outlines: turned boxes, ellipses, masks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from distill.labels.sets.annotations import BoxXyxy, PolygonXy, Region, box_around
from distill.labels.sets.attributes import finite_numbers

SAME_PX = 1.0
"""Programs round the sides of a box to whole pixels; an outline that differs by more is of another box."""

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class ShapePlace:
    """Say where a shape is.

    Attributes:
        box_xyxy_px: the box around it.
        polygon_xy_px: its outline; None for a box, and where it is not known.
        note: what it was read as, if it is neither box nor outline; else "".
    """

    box_xyxy_px: BoxXyxy
    polygon_xy_px: PolygonXy | None = None
    note: str = ""


def pixel_box(values: Iterable[Any]) -> BoxXyxy:
    """Return four corners as a box in pixels.

    Raises:
        ValueError: if they are not four finite numbers, or fractions of the sides and not pixels.
    """
    numbers = finite_numbers(values)
    if len(numbers) != 4:
        raise ValueError(f"a box has 4 numbers, not {len(numbers)}")
    x1, y1, x2, y2 = numbers
    if 0 < max(numbers) <= 1 and min(numbers) >= 0 and min(abs(x2 - x1), abs(y2 - y1)) < 1 - _ROUNDING:
        raise ValueError("a box is in fractions of the sides, 0 to 1: pixels are needed")
    return x1, y1, x2, y2


def turned_box(box: BoxXyxy, angle_rad: float) -> ShapePlace:
    """Turn a box about its centre, clockwise as it is seen, y pointing down.

    Raises:
        ValueError: if the angle is not finite.
    """
    [angle] = finite_numbers([angle_rad])
    if math.isclose(math.cos(angle), 1, abs_tol=1e-12):
        return ShapePlace(box)
    x1, y1, x2, y2 = box
    centre_x, centre_y = (x1 + x2) / 2, (y1 + y2) / 2
    cosine, sine = math.cos(angle), math.sin(angle)
    outline = tuple(
        (
            centre_x + (x - centre_x) * cosine - (y - centre_y) * sine,
            centre_y + (x - centre_x) * sine + (y - centre_y) * cosine,
        )
        for x, y in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))
    )
    note = f"a box turned by {math.degrees(angle):g} degrees is read as its outline and the box around it"
    return ShapePlace(box_around(outline), outline, note)


def ellipse(
    centre_xy: tuple[float, float], radii_xy: tuple[float, float], angle_rad: float = 0.0
) -> ShapePlace:
    """Return the box around an ellipse turned about its centre.

    Raises:
        ValueError: if a number is not finite, or a radius negative.
    """
    x, y, radius_x, radius_y, angle = finite_numbers([*centre_xy, *radii_xy, angle_rad])
    if min(radius_x, radius_y) < 0:
        raise ValueError("an ellipse has a negative radius")
    half_width = math.hypot(radius_x * math.cos(angle), radius_y * math.sin(angle))
    half_height = math.hypot(radius_x * math.sin(angle), radius_y * math.cos(angle))
    box = (x - half_width, y - half_height, x + half_width, y + half_height)
    return ShapePlace(box, note="an ellipse is read as the box around it")


def with_outline(
    label: str, box: BoxXyxy, outline: PolygonXy, attributes: Mapping[str, Any], within_px: float = SAME_PX
) -> tuple[Region, str]:
    """Give a box its outline, if the outline is of the same place; else the box holds.

    A tool that moves a box often leaves the outline where it was.

    Returns:
        The region, and what is wrong with the outline; "" if nothing is.
    """
    around = box_around(outline)
    if max(abs(one - other) for one, other in zip(ordered(box), around, strict=True)) <= within_px:
        return Region(label, box, outline, **attributes), ""
    corners = (", ".join(f"{corner:g}" for corner in corners) for corners in (around, box))
    return Region(label, box, **attributes), "its outline is at {}, its box at {}: the box holds".format(
        *corners
    )


def ordered(box: BoxXyxy) -> BoxXyxy:
    """Return a box with its corners in order."""
    x1, y1, x2, y2 = box
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
