"""Put image files into the order of the numbers in their names: 9.png stands before 10.png."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

logger = logging.getLogger(__name__)

_NUMBER = re.compile(r"([0-9]+)")
_FRACTION = re.compile(r"[0-9]+\.[0-9]+")


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """Return what names are sorted by: text, number, text and so on; equal numbers by the name itself."""
    parts = _NUMBER.split(name)
    return tuple(int(part) if number % 2 else part for number, part in enumerate(parts)), name


def in_natural_order(files: Iterable[Path]) -> list[Path]:
    """Sort the files of one folder by the numbers in their names, and say where that may not be meant."""
    ordered = sorted(files, key=lambda file: natural_key(file.name))
    for first, second in pairwise(ordered):
        if natural_key(first.name)[0] == natural_key(second.name)[0]:
            logger.warning(
                "%s and %s have the same numbers: nobody can tell which comes first; %s is taken first",
                first.name, second.name, first.name,
            )  # fmt: skip
            return ordered
    _say_if_differs(ordered)
    return ordered


def _say_if_differs(ordered: list[Path]) -> None:
    """Say once if the order of the letters would be another one."""
    swapped = next(((a, b) for a, b in pairwise(ordered) if a.name > b.name), None)
    if swapped is None:
        return
    before, after = swapped
    if _FRACTION.search(before.stem) and _FRACTION.search(after.stem):
        logger.warning(
            "%s is taken before %s: numbers around a dot are taken one by one, not as fractions; "
            "number the files with leading zeros if that is wrong",
            before.name, after.name,
        )  # fmt: skip
    else:
        logger.info("files are taken in the order of their numbers: %s before %s", before.name, after.name)
