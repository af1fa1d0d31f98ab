"""Measure the width of the cloth and the strips of it that one camera, or several, have seen.

Millimetres count from the left selvedge; where that is not known, from the left edge of the view.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edge.cameras.protocol import FramePosition

LEAST_STRIP_MM = 1.0
"""A strip that is not seen and narrower than this is none: offsets are measured with a ruler."""


FRINGE_MM = 20.0
"""A strip at a side of the image, narrower than this and found to be no cloth, may be a selvedge: its cords
have another grain than the weave. It counts as seen; what is wider is the machine beside the cloth."""


class Strip(NamedTuple):
    """Name a strip of the cloth, along the whole of it."""

    left_mm: float
    right_mm: float

    @property
    def width_mm(self) -> float:
        """How wide it is; 0 where there is nothing of it."""
        return max(0.0, self.right_mm - self.left_mm)


class ClothWidth:
    """Average the distance of the selvedges over frames."""

    def __init__(self) -> None:
        self._sum_mm = 0.0
        self._frames = 0

    def add(self, position: FramePosition) -> None:
        """Take in a frame; one that does not know both selvedges says nothing."""
        left_px, right_px = position.left_selvedge_px, position.right_selvedge_px
        if left_px is not None and right_px is not None and right_px > left_px:
            self._sum_mm += (right_px - left_px) * position.mm_per_px_across
            self._frames += 1

    @property
    def mm(self) -> float | None:
        """Mean width in millimetres; None if it was never seen."""
        return self._sum_mm / self._frames if self._frames else None


class ViewWidth:
    """Average the strip of the cloth that frames show over the lines that were inspected."""

    def __init__(self) -> None:
        self._left = self._right = 0.0
        self._lines = 0

    def add(self, strip: Strip, lines: int) -> None:
        """Take in a frame with so many lines that no other frame had."""
        self._left += strip.left_mm * lines
        self._right += strip.right_mm * lines
        self._lines += lines

    def strip(self, before: Strip | None = None, lines_before: int = 0) -> Strip | None:
        """Return the mean strip; None if no line was inspected.

        Args:
            before: of an earlier run with the same roll.
            lines_before: that it stands for.
        """
        left, right, lines = self._left, self._right, self._lines
        if before is not None:
            left, right = left + before.left_mm * lines_before, right + before.right_mm * lines_before
            lines += lines_before
        return Strip(left / lines, right / lines) if lines else None


def strip_of(position: FramePosition, width_px: int, columns: tuple[float, float] | None = None) -> Strip:
    """Return the strip of the cloth that a frame shows.

    Args:
        position: of the frame.
        width_px: of its image.
        columns: first and last-plus-one column of the cloth in it, as far as that was found.
    """
    known_left = position.left_selvedge_px
    left, right = _without_machine(width_px, columns, position.mm_per_px_across)
    left = max(left, 0.0 if known_left is None else known_left)
    if position.right_selvedge_px is not None:
        right = min(right, position.right_selvedge_px)
    origin, scale = known_left or 0.0, position.mm_per_px_across
    return Strip((left - origin) * scale, (max(left, right) - origin) * scale)


def _without_machine(
    width_px: int, columns: tuple[float, float] | None, mm_per_px: float
) -> tuple[float, float]:
    """Return the columns of an image that show cloth or its selvedge."""
    if columns is None:
        return 0.0, float(width_px)
    fringe_px = FRINGE_MM / mm_per_px
    left, right = columns
    return left if left >= fringe_px else 0.0, right if width_px - right >= fringe_px else float(width_px)


@dataclass(frozen=True, slots=True)
class Across:
    """Say which part of the width of the cloth was to be seen, and what was seen of it.

    Attributes:
        part: of the cloth that the camera, or all of them, are there for; None if its width is not known.
        seen: strips of it that were seen, from left to right, apart; None if that is not known: records of
            older programs do not say it, and the whole part is taken as seen.
    """

    part: Strip | None = None
    seen: tuple[Strip, ...] | None = None

    @property
    def width_mm(self) -> float | None:
        """Width of the part; None if not known."""
        return self.part.width_mm if self.part else None

    @property
    def seen_mm(self) -> float | None:
        """Width that was seen of it, which is what is graded; None if its width is not known."""
        if self.part is None:
            return None
        if self.seen is None:
            return self.part.width_mm
        return min(sum(strip.width_mm for strip in self.seen), self.part.width_mm)

    @property
    def unseen(self) -> tuple[Strip, ...]:
        """Strips of the part that were not seen."""
        if self.part is None or self.seen is None:
            return ()
        edges = [self.part.left_mm, *(edge for strip in self.seen for edge in strip), self.part.right_mm]
        strips = [Strip(left, right) for left, right in zip(edges[::2], edges[1::2], strict=True)]
        return tuple(strip for strip in strips if strip.width_mm >= LEAST_STRIP_MM)

    @property
    def unseen_mm(self) -> float:
        """Width that was not seen."""
        return sum(strip.width_mm for strip in self.unseen)

    @property
    def fraction(self) -> float | None:
        """Fraction of the width that was seen; None if the width is not known."""
        if not self.width_mm or self.seen_mm is None:
            return None
        return self.seen_mm / self.width_mm if self.unseen else 1.0

    def without_edges(self, edge_mm: float) -> Across:
        """Return what lies between the edges of the cloth, each of that width; the left one begins at 0."""
        if not edge_mm or self.part is None:
            return self
        part = Strip(max(self.part.left_mm, edge_mm), self.part.right_mm - edge_mm)
        return Across(part, None if self.seen is None else clipped(self.seen, part))


def clipped(strips: Iterable[Strip], part: Strip) -> tuple[Strip, ...]:
    """Return what lies of strips in a part of the cloth."""
    inside = (Strip(max(left, part.left_mm), min(right, part.right_mm)) for left, right in strips)
    return tuple(strip for strip in inside if strip.width_mm > 0)


def across_of(
    offset_mm: float | None,
    stated_mm: float | None,
    measured_mm: float | None,
    view: Strip | None,
) -> Across:
    """Return what a camera was to see of the width of the cloth, and what it saw.

    Args:
        offset_mm: from the left selvedge to the left edge of the view; None if that is not known.
        stated_mm: width of the cloth by the settings: of the whole of it or of this camera's part,
            whichever ends nearer to where the view ends.
        measured_mm: distance of the selvedges; None if not known.
        view: mean strip of the cloth that frames showed.
    """
    left_mm = max(offset_mm or 0.0, 0.0)
    if stated_mm is not None:
        right_mm: float | None = _stated_right_mm(left_mm, stated_mm, view)
    else:
        right_mm = measured_mm
    if right_mm is None:
        return Across(None, None if view is None else (view,))
    return within_part(Strip(left_mm, max(left_mm, right_mm)), view, is_placed=offset_mm is not None)


def within_part(part: Strip, view: Strip | None, *, is_placed: bool) -> Across:
    """Return what a view shows of a part of the cloth.

    Args:
        is_placed: whether the view is placed from the left selvedge; else only its width can be compared.
    """
    if view is None:
        return Across(part)
    if is_placed:
        strip = Strip(max(view.left_mm, part.left_mm), min(view.right_mm, part.right_mm))
    else:
        width_mm = min(view.width_mm, part.width_mm)
        left_mm = max(part.left_mm, min(view.left_mm, part.right_mm - width_mm))
        strip = Strip(left_mm, left_mm + width_mm)
    return Across(part, (strip,) if strip.width_mm > 0 else ())


def together(parts: Sequence[Across]) -> Across:
    """Return what cameras beside each other see of the cloth from its left selvedge on."""
    right_mm = max((across.part.right_mm for across in parts if across.part), default=0.0)
    return Across(Strip(0.0, right_mm), joined(seen_strips(parts)))


def seen_strips(parts: Iterable[Across]) -> list[Strip]:
    """Return the strips that cameras saw, in any order."""
    strips: list[Strip] = []
    for across in parts:
        strips += across.seen if across.seen is not None else [across.part] if across.part else []
    return strips


def joined(strips: Iterable[Strip]) -> tuple[Strip, ...]:
    """Join strips that overlap, touch, or lie apart by less than `LEAST_STRIP_MM`."""
    done: list[Strip] = []
    for strip in sorted(strips):
        if not strip.width_mm:
            continue
        if done and strip.left_mm - done[-1].right_mm < LEAST_STRIP_MM:
            done[-1] = Strip(done[-1].left_mm, max(done[-1].right_mm, strip.right_mm))
        else:
            done.append(strip)
    return tuple(done)


def _stated_right_mm(left_mm: float, stated_mm: float, view: Strip | None) -> float:
    """Return where the cloth that the settings state ends, from the left selvedge."""
    of_part = left_mm + stated_mm
    if view is None or stated_mm <= left_mm:
        return of_part
    return min(of_part, stated_mm, key=lambda right_mm: abs(right_mm - view.right_mm))
