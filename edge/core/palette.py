"""Give each defect class its colour: the same on images, pages, reports and plots.

The colours are those of Okabe and Ito (2008), which people with any form of colour blindness tell apart.
A colour is never the only sign: beside it stands the name of the class.
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

from edge.core.detections import UNCLASSIFIED


class Colour(NamedTuple):
    """Hold a colour as sRGB values from 0 to 255."""

    red: int
    green: int
    blue: int

    @property
    def hex(self) -> str:
        """Return it as CSS, SVG and matplotlib write it, for instance ``#d55e00``."""
        return f"#{self.red:02x}{self.green:02x}{self.blue:02x}"

    @property
    def bgr(self) -> tuple[int, int, int]:
        """Return it in the order of OpenCV."""
        return self.blue, self.green, self.red


VERMILION = Colour(213, 94, 0)
SKY_BLUE = Colour(86, 180, 233)
YELLOW = Colour(240, 228, 66)
PURPLE = Colour(204, 121, 167)
ORANGE = Colour(230, 159, 0)
GREEN = Colour(0, 158, 115)
BLUE = Colour(0, 114, 178)

COLOUR_OF_CLASS = {"broken": VERMILION, "wrinkle": SKY_BLUE, "drop": YELLOW, UNCLASSIFIED: PURPLE}
"""Colours of the classes that ship."""

FURTHER_COLOURS = (ORANGE, GREEN, BLUE)
"""Colours of the classes that a mill adds."""


def class_colour(name: str) -> Colour:
    """Return the colour of a defect class; it depends on the name alone."""
    known = COLOUR_OF_CLASS.get(name)
    return known or FURTHER_COLOURS[crc32(name.encode()) % len(FURTHER_COLOURS)]
