"""Draw boxes with labels on an image: the one style of saved images, contact sheets and documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from anyascii import anyascii
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageFont
from PIL.ImageDraw import Draw

from edge.core.detections import DetectionRecord
from edge.core.image import Image
from edge.core.label_places import Place, label_places
from edge.core.palette import INK, Colour, class_colour, text_colour

SMALLEST_TEXT_PX = 12
"""Height of a line of text; smaller letters are not read."""

TEXT_OF_LONGER_SIDE = 1 / 50
"""So that a label is read where the whole image is shown as wide as a page."""

TEXT_OF_SHORTER_SIDE = 1 / 6
"""So that a label leaves most of a flat strip to the cloth."""

TEXT_OF_LINE = 8
"""Times the width of a line."""

MOST_LABELS = 60
"""Boxes of one image that get a label, the most confident first; more would hide the cloth."""

MOST_NAME_LETTERS = 40
"""Of a class or kind on an image: a longer name loses its middle, or its label would hide the cloth."""

NO_ROOM = "..."


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """Hold a box to be drawn.

    Attributes:
        box_xyxy_px: in pixels of the image.
        text: of its label, any Unicode; empty for a box without one.
        colour: of its line and the ground of its label.
        confidence: labels of the most confident boxes get their places first.
    """

    box_xyxy_px: Sequence[float]
    text: str
    colour: Colour
    confidence: float = 1.0


def label_text(class_name: str, confidence: float | None = None, kind: str | None = None) -> str:
    """Name a defect: class, kind if it says more than the class, and confidence."""
    named = _short(class_name)
    if kind and kind != class_name:
        named = f"{named}: {_short(kind)}"
    return named if confidence is None else f"{named} {confidence:.2f}"


def _short(name: str) -> str:
    """Return a name without its middle if it is long: names often differ at their ends."""
    if len(name) <= MOST_NAME_LETTERS:
        return name
    kept = MOST_NAME_LETTERS - len(NO_ROOM)
    return f"{name[: kept - kept // 3]}{NO_ROOM}{name[-(kept // 3) :]}"


def draw_detections(
    image: Image, detections: Sequence[DetectionRecord], text_px: int | None = None
) -> Image:
    """Draw boxes with class and confidence; see `draw_boxes`."""
    boxes = [
        LabelledBox(
            found["box_xyxy_px"],
            label_text(found["label"], found["score"], found.get("kind") or found.get("shape")),
            class_colour(found["label"]),
            found["score"],
        )
        for found in detections
    ]
    return draw_boxes(image, boxes, text_px)


def draw_boxes(image: Image, boxes: Sequence[LabelledBox], text_px: int | None = None) -> Image:
    """Draw boxes just outside their sides, and their labels: none over another, all inside the image.

    A label that finds no place beside its box is joined to it by a line.

    Args:
        image: (H, W) grey or (H, W, 3) BGR, uint8; left as it is.
        boxes: in its pixels.
        text_px: height of the text; None for one that fits the image.
    Returns:
        (H, W, 3) uint8, BGR.
    """
    coloured = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image.copy()
    drawn: Image = np.asarray(coloured, np.uint8)
    text_px = text_px or fitting_text_px(drawn.shape[:2])
    line_px = max(1, text_px // TEXT_OF_LINE)
    ordered = sorted(boxes, key=lambda box: -box.confidence)
    outlines = [_outline(box.box_xyxy_px, 2 * line_px + 1) for box in ordered]
    named = [number for number, box in enumerate(ordered) if box.text][:MOST_LABELS]
    labels = {number: _Label.of(ordered[number].text, text_px, drawn.shape[1]) for number in named}
    sizes_wh = {number: label.size_wh for number, label in labels.items()}
    places = label_places(outlines, sizes_wh, (drawn.shape[1], drawn.shape[0]))
    for is_edge in (True, False):
        for number, (box, outline) in enumerate(zip(ordered, outlines, strict=True)):
            colour = text_colour(box.colour) if is_edge else box.colour
            _draw_lines(drawn, outline, places.get(number), colour, line_px + 2 * is_edge)
    for number, place in places.items():
        labels[number].draw(drawn, place, ordered[number].colour)
    return drawn


def draw_text(
    image: Image, text: str, left_top_xy: tuple[int, int], colour: Colour = INK, text_px: int = 15
) -> None:
    """Write a caption on an image, in the letters of the labels; what stands out of the image is lost."""
    ink = _letters(readable(text), text_px, 0)[..., None]
    left, top = left_top_xy
    part = image[top : top + len(ink), left : left + ink.shape[1]]
    ink = ink[: part.shape[0], : part.shape[1]]
    part[:] = np.rint(part * (1 - ink) + np.array(colour.bgr) * ink).astype(np.uint8)


def fitting_text_px(size_hw: tuple[int, ...]) -> int:
    """Return the height of text that is read on an image of this size when it is shown whole."""
    longer, shorter = max(size_hw), min(size_hw)
    wanted = min(longer * TEXT_OF_LONGER_SIDE, shorter * TEXT_OF_SHORTER_SIDE)
    return max(SMALLEST_TEXT_PX, round(wanted))


def _outline(box_xyxy_px: Sequence[float], reach_px: int) -> Place:
    left, top, right, bottom = (round(side) for side in box_xyxy_px)
    return Place(left - reach_px, top - reach_px, right + reach_px, bottom + reach_px)


def _draw_lines(image: Image, outline: Place, label: Place | None, colour: Colour, width_px: int) -> None:
    """Draw a box, and the line to its label where that lies apart."""
    cv2.rectangle(image, outline[:2], outline[2:], colour.bgr, width_px)
    if label is not None:
        start, end = _nearest(outline, label), _nearest(label, outline)
        if start != end:
            cv2.line(image, start, end, colour.bgr, width_px, cv2.LINE_AA)


def _nearest(one: Place, other: Place) -> tuple[int, int]:
    """Return the point of one rectangle that is nearest to another."""
    middle = ((max(one.left, other.left) + min(one.right, other.right)) // 2,
              (max(one.top, other.top) + min(one.bottom, other.bottom)) // 2)  # fmt: skip
    return min(max(middle[0], one.left), one.right), min(max(middle[1], one.top), one.bottom)


@dataclass(frozen=True, slots=True, eq=False)
class _Label:
    """Hold the letters of a label, as how much ink lies on each pixel: (h, w) from 0 to 1."""

    ink: NDArray[np.float32]

    @property
    def size_wh(self) -> tuple[int, int]:
        return self.ink.shape[1], self.ink.shape[0]

    @classmethod
    def of(cls, text: str, text_px: int, widest_px: int) -> _Label:
        """Write a text, smaller where it would be too wide, and cut at the least size."""
        text = readable(text).replace(" ", "  ")  # the font's own space closes up where it is small
        pad = max(2, text_px // 4)
        for size in range(text_px, SMALLEST_TEXT_PX - 3, -1):
            if _width(text, size) + 2 * pad <= widest_px:
                break
        else:
            text = _cut(text, size, widest_px - 2 * pad)
        return cls(_letters(text, size, pad))

    def draw(self, image: Image, place: Place, ground: Colour) -> None:
        """Fill the ground and write on it, dark or light."""
        part = image[place.top : place.bottom, place.left : place.right]
        amount = self.ink[..., None]
        mixed = np.array(ground.bgr) * (1 - amount) + np.array(text_colour(ground).bgr) * amount
        part[:] = np.rint(mixed).astype(np.uint8)


def readable(text: str) -> str:
    """Return a text in ASCII, which every font has: accents fall away, other scripts are romanised."""
    return "".join(letter if letter.isprintable() else " " for letter in anyascii(text))


@lru_cache(maxsize=64)
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    """Return the font that Pillow ships, so that images are the same on every device."""
    font = ImageFont.load_default(size_px)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType")
    return font


def _width(text: str, size_px: int) -> int:
    return round(_font(size_px).getlength(text) + 0.5)


def _cut(text: str, size_px: int, widest_px: int) -> str:
    """Leave the middle of a text out until it fits; the confidence stays, which stands at its end."""
    head, _, end = text.rpartition(" ")
    while head and _width(f"{head}{NO_ROOM} {end}", size_px) > widest_px:
        head = head[:-1]
    return f"{head}{NO_ROOM} {end}" if head else end


def _letters(text: str, size_px: int, pad_px: int) -> NDArray[np.float32]:
    """Write a text into an array, with `pad_px` at its left and right."""
    font = _font(size_px)
    ascent, descent = font.getmetrics()
    size_wh = (max(1, _width(text, size_px)) + 2 * pad_px, ascent + descent + pad_px // 2)
    paper = PillowImage.new("L", size_wh)
    Draw(paper).text((pad_px, pad_px // 4), text, fill=255, font=font)
    ink: NDArray[np.float32] = np.asarray(paper, np.float32) / np.float32(255)
    return ink
