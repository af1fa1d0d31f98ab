"""Convert the further attributes of a region to plain values, for every format alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from distill.labels.sets.annotations import REVIEW_STATES, BoxXyxy, PolygonXy, Region

TEXTS = ("category", "phrase", "annotator")
FRACTIONS = ("score", "weight")
ATTRIBUTES = ("category", "phrase", "score", "annotator", "review", "weight")

FARTHEST_PX = 1e9
"""No image is as large; greater numbers come from damage, and overflow when they are added."""

_DEFAULTS = Region(label="", box_xyxy_px=(0.0, 0.0, 0.0, 0.0))


def attributes_of(region: Region) -> dict[str, str | float]:
    """Return the attributes that differ from those of a box drawn by hand and not looked at again."""
    values = {name: getattr(region, name) for name in ATTRIBUTES}
    return {name: value for name, value in values.items() if value != getattr(_DEFAULTS, name)}


def attributes_from(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Read attributes from a file's values; other names are skipped, empty values are none.

    Args:
        values: name -> text or number.
    Returns:
        What `Region` takes, and one line for each value that is not permitted.
    """
    given = {name: values[name] for name in ATTRIBUTES if values.get(name) not in (None, "")}
    read: dict[str, Any] = {}
    wrong = []
    for name, value in given.items():
        if name in FRACTIONS:
            fraction = _fraction(value)
            read |= {} if fraction is None else {name: fraction}
        elif name in TEXTS or value in REVIEW_STATES:
            read[name] = str(value)
        if name not in read:
            permitted = "0 to 1" if name in FRACTIONS else ", ".join(REVIEW_STATES)
            wrong.append(f"{name} '{str(value)[:40]}' is not one of {permitted}")
    return read, wrong


def _fraction(value: Any) -> float | None:
    """Return a number within 0..1; None if it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 <= number <= 1 else None


def finite_numbers(values: Iterable[Any]) -> tuple[float, ...]:
    """Return texts or numbers as finite floats.

    Raises:
        ValueError: if one is missing, no number, not finite, or greater than any place in an image.
    """
    numbers = tuple(map(_number, values))
    for number in numbers:
        if not -FARTHEST_PX <= number <= FARTHEST_PX:
            is_finite = math.isfinite(number)
            raise ValueError(f"a coordinate is {f'beyond {FARTHEST_PX:g}' if is_finite else 'not finite'}")
    return numbers


def side_px(value: Any) -> int | None:
    """Return the height or width of an image as a file states it: a whole number of any type above 0.

    Returns:
        None if it is anything else.
    """
    try:
        [number] = finite_numbers([value])
    except ValueError:
        return None
    return int(number) if number >= 1 and number.is_integer() else None


def _number(value: Any) -> float:
    if type(value) is float:
        return value
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):  # Python reads 1_0 as 10
        raise ValueError(f"{str(value)[:40]!r} is no number")
    try:
        return float(value)
    except (TypeError, OverflowError) as error:
        raise ValueError("a coordinate is missing or no number") from error
    except ValueError as error:
        raise ValueError(f"could not convert {str(value)[:40]!r} to a number") from error


def box_from(values: Iterable[Any]) -> BoxXyxy:
    """Return four values as a box.

    Raises:
        ValueError: if they are not four finite numbers.
    """
    x1, y1, x2, y2 = finite_numbers(values)
    return x1, y1, x2, y2


def polygon_from(values: Iterable[Any]) -> PolygonXy:
    """Return x and y in turn as an outline.

    Raises:
        ValueError: if they are no finite numbers, or fewer than three corners.
    """
    numbers = finite_numbers(values)
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError("an outline needs three corners or more")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))
