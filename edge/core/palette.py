"""Give each defect class its colour, and each role: the only place of colours for images, pages and plots.

The colours are those of Okabe and Ito (2008), which people with any form of colour blindness tell apart.
A colour is never the only sign: beside it stands the name of the class, or the dash of the line.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from zlib import crc32

from edge.core.detections import UNCLASSIFIED

GREY_FROM_RGB: Final = (0.2126, 0.7152, 0.0722)
"""Weights of linear red, green and blue in relative luminance (WCAG 2.2)."""


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

    @property
    def luminance(self) -> float:
        """Return its relative luminance from 0 to 1, as WCAG 2.2 defines it."""
        parts = (value / 255 for value in self)
        linear = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return sum(weight * part for weight, part in zip(GREY_FROM_RGB, linear, strict=True))


WHITE = Colour(255, 255, 255)
INK = Colour(20, 20, 20)
PAPER = Colour(245, 245, 245)
SOFT_INK = Colour(217, 217, 217)
"""Lines of help in a plot, and what a plot compares with."""

VERMILION = Colour(213, 94, 0)
SKY_BLUE = Colour(86, 180, 233)
YELLOW = Colour(240, 228, 66)
PURPLE = Colour(204, 121, 167)
ORANGE = Colour(230, 159, 0)
GREEN = Colour(0, 158, 115)
BLUE = Colour(0, 114, 178)

WINE = Colour(136, 34, 85)
INDIGO = Colour(51, 34, 136)
MINT = Colour(170, 255, 195)
"""Three more: for all eyes as far from those of Okabe and Ito as these are from each other."""

COLOUR_OF_CLASS = {"broken": VERMILION, "wrinkle": SKY_BLUE, "drop": YELLOW, UNCLASSIFIED: PURPLE}
"""Colours of the classes that ship."""

FURTHER_COLOURS = (ORANGE, GREEN, BLUE, WINE, INDIGO, MINT)
"""Colours of the classes that a mill adds; two of them may share one."""

GROUND_TRUTH = GREEN
PREDICTION = VERMILION
TEACHER = ORANGE
STUDENT = PURPLE
MARK = ORANGE
"""A place that is shown whatever class it has: near alarms, planted defects in the documentation."""

SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY_BLUE, INK)
"""Lines and bars of a plot on white, in this order; yellow is too light there."""

SHADES = (WHITE, BLUE)
"""From none to all, in a plot that shades."""

LIGHT_THEME: Final = {
    "back": Colour(244, 246, 248),
    "card": WHITE,
    "text": Colour(23, 33, 43),
    "soft": Colour(86, 99, 112),
    "line": Colour(207, 214, 221),
    "good": Colour(22, 113, 62),
    "warn": Colour(210, 154, 28),
    "bad": Colour(179, 38, 30),
    "warn-back": Colour(253, 241, 216),
    "bad-back": Colour(253, 232, 230),
    "note-back": Colour(230, 238, 246),
    "cloth": Colour(223, 233, 216),
    "gap": Colour(139, 143, 148),
    "focus": Colour(31, 111, 178),
    "dark": Colour(32, 36, 42),
    "on-dark": Colour(232, 237, 241),
    "on-good": WHITE,
    "teacher": TEACHER,
    "mark-edge": INK,
}
"""Greys and signals of the pages and of the report, by day. Text has a contrast of 4.5 to its ground."""

DARK_THEME: Final = {
    "back": Colour(17, 22, 27),
    "card": Colour(27, 35, 43),
    "text": Colour(232, 237, 241),
    "soft": Colour(163, 176, 187),
    "line": Colour(54, 66, 77),
    "good": Colour(79, 197, 127),
    "bad": Colour(255, 138, 128),
    "warn-back": Colour(69, 54, 18),
    "bad-back": Colour(74, 27, 24),
    "note-back": Colour(29, 48, 68),
    "cloth": Colour(49, 64, 44),
    "gap": Colour(119, 125, 132),
    "focus": Colour(91, 164, 224),
    "on-good": INK,
}
"""What differs on a device that is set to dark."""


def class_colour(name: str) -> Colour:
    """Return the colour of a defect class; it depends on the name alone."""
    known = COLOUR_OF_CLASS.get(name)
    return known or FURTHER_COLOURS[crc32(name.encode(errors="surrogatepass")) % len(FURTHER_COLOURS)]


def contrast(one: Colour, other: Colour) -> float:
    """Return the contrast of two colours, from 1 to 21, as WCAG 2.2 defines it."""
    darker, lighter = sorted((one.luminance, other.luminance))
    return (lighter + 0.05) / (darker + 0.05)


def text_colour(ground: Colour) -> Colour:
    """Return ink or white: what is read better on a ground, and what sets a line of its colour off."""
    return max(INK, WHITE, key=lambda ink: contrast(ink, ground))


def stylesheet(*, dark: bool = True) -> str:
    """Return the colours of pages as variables of CSS, for instance ``var(--bad)``.

    Args:
        dark: whether a device that is set to dark gets its own.
    """
    # The ground of a dialog takes no variable from the page in browsers of before 2024.
    day = f":root, ::backdrop {{ {_variables(LIGHT_THEME)} --shade: {INK.hex}99; }}\n"
    night = f"@media (prefers-color-scheme: dark) {{ :root, ::backdrop {{ {_variables(DARK_THEME)} }} }}\n"
    return day + night if dark else day


def _variables(theme: dict[str, Colour]) -> str:
    return " ".join(f"--{name}: {colour.hex};" for name, colour in theme.items())
