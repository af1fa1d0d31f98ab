"""Parse and write lines of a YOLO label file: class, centre, width and height as fractions of the image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from distill.labels.sets.annotations import NOT_TRAINED_ON, BoxXyxy, Region, box_around
from distill.labels.sets.attributes import finite_numbers, polygon_from

_WHOLE = re.compile(r"[+-]?[0-9]{1,9}(\.0*)?")

SAME_BOX_PX = 0.5
"""Programs round fractions to six places or fewer; a box moved by a person moves by more."""


LEAST_SIDE_PX = 1e-6
"""A box with a smaller side has no area but for rounding, and a row could not hold it."""


def trainable_box(region: Region, size_hw_px: tuple[int, int]) -> BoxXyxy | None:
    """Return a box as it may be trained on: corners in order, inside the image.

    Returns:
        None if nothing of it is inside, a person rejected it, or it waits for a person.
    """
    height, width = size_hw_px
    x1, y1, x2, y2 = region.box_xyxy_px
    left, right = (min(max(x, 0.0), float(width)) for x in sorted((x1, x2)))
    top, bottom = (min(max(y, 0.0), float(height)) for y in sorted((y1, y2)))
    if region.review in NOT_TRAINED_ON or min(right - left, bottom - top) < LEAST_SIDE_PX:
        return None
    return left, top, right, bottom


def row_of(class_id: int, box: BoxXyxy, size_hw_px: tuple[int, int]) -> str:
    """Return the line of a box, with digits enough for a millionth of a pixel.

    No power of ten stands in it: other programs take `1e-05` for no number and skip the file.
    """
    height, width = size_hw_px
    x1, y1, x2, y2 = box
    fractions = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    return f"{class_id} " + " ".join(f"{fraction:.15f}".rstrip("0").rstrip(".") for fraction in fractions)


MOST_OUTSIDE = 0.01
"""So far may a fraction lie outside of 0 to 1, by rounding (ultralytics takes as much)."""


def class_id_of(row: str) -> int:
    """Return the class number of a line: whole, also as `1.0`.

    Raises:
        ValueError: if it begins with no whole number.
    """
    text = row.split()[0]
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"class {text[:40]} is no whole number")
    return int(float(text))


def region_of(row: str, class_names: Sequence[str], size_hw_px: tuple[int, int]) -> Region:
    """Read a line: a box, or an outline if it has six or more fractions.

    Raises:
        ValueError: if it is neither, its class has no name, or its numbers are no fractions.
    """
    number, *texts = row.split()
    class_id = class_id_of(row)
    if not 0 <= class_id < len(class_names) or not class_names[class_id]:
        raise ValueError(f"class {number[:20]} has no name in data.yaml ({len(class_names)} names, from 0)")
    if len(texts) != 4 and (len(texts) < 6 or len(texts) % 2):
        hint = ": is the sixth number the score of a prediction?" if len(texts) == 5 else ""
        raise ValueError(f"'{row[:60]}' is not: class centre-x centre-y width height{hint}")
    height, width = size_hw_px
    fractions = finite_numbers(texts)
    if max(fractions) > 1 + MOST_OUTSIDE or min(fractions) < -MOST_OUTSIDE:
        raise ValueError(f"'{row[:60]}' is not in fractions of width and height, 0 to 1")
    pixels = [fraction * (height if place % 2 else width) for place, fraction in enumerate(fractions)]
    label = class_names[class_id]
    if len(pixels) > 4:
        outline = polygon_from(pixels)
        return Region(label, box_around(outline), outline)
    x, y, box_width, box_height = pixels
    half_width, half_height = box_width / 2, box_height / 2
    return Region(label, (x - half_width, y - half_height, x + half_width, y + half_height))


def merged(
    rows: Sequence[Region], kept: Sequence[Region], size_hw_px: tuple[int, int]
) -> tuple[list[Region], list[str]]:
    """Give the boxes of a label file what was kept of them elsewhere; the label file has the last word.

    Args:
        rows: read from the label file.
        kept: the same regions with all that is known of them, and those that a label file cannot hold.
        size_hw_px: height and width of the image.
    Returns:
        The regions, and one line for each that the two tell differently.
    """
    rest = list(rows)
    boxes = [trainable_box(region, size_hw_px) for region in kept]
    row_of_region: dict[int, Region] = {}
    for same_class in (True, False):  # a row of another class is taken when no box of its own is left
        for place, (region, box) in enumerate(zip(kept, boxes, strict=True)):
            match = _match(region, box, rest, same_class=same_class) if box else None
            if match and place not in row_of_region:
                row_of_region[place] = match
                rest.remove(match)
    regions, differences = [], []
    for place, (region, box) in enumerate(zip(kept, boxes, strict=True)):
        row = row_of_region.get(place)
        if box and row is None:
            differences.append(f"a box of '{region.label}' is no longer in the label file")
            continue
        if row and row.label != region.label:
            differences.append(f"a box is '{row.label}' by its number and '{region.label}' by name")
            region = replace(region, label=row.label, category=None, phrase=None, weight=1.0)
        regions.append(region)
    return regions + rest, differences


def _match(region: Region, box: BoxXyxy, rows: Sequence[Region], *, same_class: bool) -> Region | None:
    """Return the nearest row of the same box and class, or of the same box and another class."""
    near = [
        row
        for row in rows
        if (row.label == region.label) == same_class and _distance_px(row.box_xyxy_px, box) <= SAME_BOX_PX
    ]
    return min(near, key=lambda row: _distance_px(row.box_xyxy_px, box), default=None)


def _distance_px(a: BoxXyxy, b: BoxXyxy) -> float:
    return max(abs(one - other) for one, other in zip(a, b, strict=True))
