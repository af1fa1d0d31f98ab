"""Parse the teacher's answers into regions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from distill.labels.florence.settings import TaskName
from distill.labels.florence.tasks import TASKS
from distill.labels.formats.location_tokens import BINS, parse_boxes, parse_polygons
from distill.labels.sets.annotations import BoxXyxy, Region, box_around
from distill.labels.sets.naming import names_from_text
from edge.core.taxonomy import Taxonomy

ANNOTATOR = "florence-2"

_FRAMES = re.compile(r"<s>|</s>|<pad>")


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold what the teacher said.

    Attributes:
        text: as it came, without the tokens that begin, end and fill.
        regions: what it located; none for a task that gives text.
    """

    text: str
    regions: tuple[Region, ...] = ()


def read_answer(
    task: TaskName, text: str, size_hw_px: tuple[int, int], taxonomy: Taxonomy, asked: str = ""
) -> Answer:
    """Read the text of an answer; outlines without three corners are left out.

    Args:
        task: what was asked.
        text: decoded with its special tokens.
        size_hw_px: of the image.
        taxonomy: to look names up in.
        asked: words behind the task token; they name what an answer without names shows.
    """
    bare = _FRAMES.sub("", text).strip()
    kind = TASKS[task].gives
    if kind == "text":
        return Answer(bare)
    if kind == "boxes":
        named = [(name, box) for name, box in parse_boxes(bare, size_hw_px) if name]
        regions = [region_of(name, whole_box(box, size_hw_px), taxonomy) for name, box in named]
        return Answer(bare, tuple(regions))
    asked_name = "" if "<loc_" in asked else asked
    return Answer(bare, tuple(_outlines(bare, size_hw_px, taxonomy, asked_name)))


def region_of(name: str, box_xyxy_px: BoxXyxy, taxonomy: Taxonomy, score: float | None = None) -> Region:
    """Make a region of a name as the teacher wrote it."""
    label, category, phrase = names_from_text(name, taxonomy)
    return Region(label, box_xyxy_px, category=category, phrase=phrase, score=score, annotator=ANNOTATOR)


def whole_box(box_xyxy_px: BoxXyxy, size_hw_px: tuple[int, int]) -> BoxXyxy:
    """Put swapped corners right, and give a box whose sides fall into one bin the breadth of that bin.

    A broken end of three pixels on a strip of 4,096 lies within one bin: its box is the bin, not a line.
    """
    x1, y1, x2, y2 = box_xyxy_px
    half_h, half_w = (side / BINS / 2 for side in size_hw_px)
    (left, right), (top, bottom) = sorted((x1, x2)), sorted((y1, y2))
    if right == left:
        left, right = left - half_w, right + half_w
    if bottom == top:
        top, bottom = top - half_h, bottom + half_h
    return left, top, right, bottom


def _outlines(text: str, size_hw_px: tuple[int, int], taxonomy: Taxonomy, asked: str) -> list[Region]:
    """Make a region of each piece of each outline."""
    regions = []
    for name, pieces in parse_polygons(text, size_hw_px):
        label, category, phrase = names_from_text(name or asked, taxonomy)
        regions += [
            Region(label, box_around(piece), piece, category, phrase, annotator=ANNOTATOR)
            for piece in pieces
        ]
    return regions
