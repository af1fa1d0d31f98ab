"""Turn boxes in frames into one defect each on the roll, in metres and millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from edge.cameras.protocol import FramePosition
from edge.core.appearance import Appearance
from edge.core.detections import Detections, Shape, joined_shape

TOUCH_MM = 6.0
"""Boxes of one class closer than this are one defect: about twice the jitter of a detector's box edge at
0.2 mm per px, and well below the distance at which an inspector counts two."""


FILLED_FRACTION = 0.75
"""Two pieces are kept as one rectangle if they fill this fraction of it: those of a yarn do, from frame to
frame; a yarn across and one along do not."""

MOST_PIECES = 64
"""More are kept as one rectangle: bounds memory where a whole stretch of cloth is in tatters."""


class Sighting(NamedTuple):
    """Name the frame that showed a defect best, and the box there, in its pixels."""

    frame_id: int
    box_xyxy_px: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class ClothDefect:
    """Place one defect on the roll.

    Attributes:
        class_name: of the taxonomy.
        score: highest of its detections.
        start_m, end_m: along the roll.
        left_mm, right_mm: from the left selvedge; from the left edge of the image if the selvedge is
            not known.
        pieces: the rectangles it consists of, if it does not fill the one around it: a yarn across that
            meets one along leaves most of that free, and what lies there is another defect. Those of a
            defect whose parts have several classes have these.
        seen: where its image shows it; None if that is not known.
        shape: of one that is unclassified; None where a detector has named it.
        kind: category of the taxonomy, such as `broken end`; None where that is not known. It is settled
            once the defect is complete, see `edge.cloth.kinds`.
        appearance: what the image shows of its largest piece; None if nobody has looked.
    """

    class_name: str
    score: float
    start_m: float
    end_m: float
    left_mm: float
    right_mm: float
    pieces: tuple[ClothDefect, ...] = ()
    seen: Sighting | None = None
    shape: Shape | None = None
    kind: str | None = None
    appearance: Appearance | None = None

    def touches(self, other: ClothDefect, reach_mm: float = TOUCH_MM) -> bool:
        """Tell whether two defects overlap or lie closer than `reach_mm`, whatever their class."""
        return self._reaches(other, reach_mm) and any(
            piece._reaches(others, reach_mm)
            for piece in self.pieces or (self,)
            for others in other.pieces or (other,)
        )

    def has_part(self, piece: ClothDefect) -> bool:
        """Tell whether a piece belongs to the defect: it touches, and some of that has its class."""
        names = {self.class_name, *(one.class_name for one in self.pieces)}
        return piece.class_name in names and self.touches(piece)

    def joined(self, other: ClothDefect) -> ClothDefect:
        """Return the defect that consists of both, with the class of the one that scores higher."""
        pieces = list(self.pieces or (self,))
        for piece in other.pieces or (other,):
            _add_piece(pieces, piece)
        detailed = 1 < len(pieces) <= MOST_PIECES
        return replace(self._around(other), pieces=tuple(pieces) if detailed else ())

    def as_json(self) -> dict[str, str | float | None]:
        """Return class, kind, score and the rectangle around it, and its shape if it has one."""
        left_out = {"pieces", "seen", "appearance"} | ({"shape"} if self.shape is None else set())
        return {name: getattr(self, name) for name in self.__slots__ if name not in left_out}

    def moved_across(self, by_mm: float) -> ClothDefect:
        """Return the defect with other millimetres from the left selvedge."""
        if not by_mm:
            return self
        pieces = tuple(piece.moved_across(by_mm) for piece in self.pieces)
        return replace(self, left_mm=self.left_mm + by_mm, right_mm=self.right_mm + by_mm, pieces=pieces)

    @property
    def length_mm(self) -> float:
        """How far it reaches along the roll."""
        return (self.end_m - self.start_m) * 1000

    @property
    def breadth_mm(self) -> float:
        """How far it reaches across the cloth."""
        return self.right_mm - self.left_mm

    @property
    def area_mm2(self) -> float:
        """Area of the rectangle around it."""
        return (self.end_m - self.start_m) * 1000 * (self.right_mm - self.left_mm)

    def _reaches(self, other: ClothDefect, reach_mm: float) -> bool:
        """Tell whether the rectangles around the two overlap or lie closer than that."""
        reach_m = reach_mm / 1000
        return (
            self.start_m <= other.end_m + reach_m
            and other.start_m <= self.end_m + reach_m
            and self.left_mm <= other.right_mm + reach_mm
            and other.left_mm <= self.right_mm + reach_mm
        )

    def _around(self, other: ClothDefect) -> ClothDefect:
        """Return the rectangle around both, with the class of the one that scores higher."""
        better = self if self.score >= other.score else other
        return ClothDefect(
            better.class_name,
            better.score,
            min(self.start_m, other.start_m),
            max(self.end_m, other.end_m),
            min(self.left_mm, other.left_mm),
            max(self.right_mm, other.right_mm),
            seen=better.seen or self.seen or other.seen,
            shape=joined_shape([self.shape, other.shape]),
            kind=joined_kind([self, other]),
            appearance=largest_seen([self, other]),
        )


def joined_kind(parts: Sequence[ClothDefect]) -> str | None:
    """Return the kind of what consists of parts: that of the largest one whose kind is known."""
    known = [part for part in parts if part.kind is not None]
    return max(known, key=_size).kind if known else None


def largest_seen(parts: Sequence[ClothDefect]) -> Appearance | None:
    """Return what the image shows of the largest part that was looked at."""
    seen = [part for part in parts if part.appearance is not None]
    return max(seen, key=_size).appearance if seen else None


def _size(defect: ClothDefect) -> tuple[float, ...]:
    """Order defects by area; those of one area the same way whatever order they came in."""
    return (defect.area_mm2, defect.score, defect.start_m, defect.left_mm)


def class_and_kind(defect: ClothDefect) -> str:
    """Return class and kind for a person to read, such as `broken: broken end`."""
    name = class_and_shape(defect)
    return name if defect.kind in (None, defect.class_name) else f"{name}: {defect.kind}"


def class_and_shape(defect: ClothDefect) -> str:
    """Return the class for a person to read, such as `broken` or `unclassified (weft line)`."""
    return defect.class_name if defect.shape is None else f"{defect.class_name} ({defect.shape})"


def _add_piece(pieces: list[ClothDefect], piece: ClothDefect) -> None:
    """Add a rectangle to others, in place; those that together nearly fill one become that one."""
    for index, other in enumerate(pieces):
        around = piece._around(other)
        if piece.area_mm2 + other.area_mm2 >= FILLED_FRACTION * around.area_mm2:
            del pieces[index]
            _add_piece(pieces, around)
            return
    pieces.append(piece)


def on_cloth(found: Detections, position: FramePosition | None, margin_mm: float = 0.0) -> Detections:
    """Keep the detections whose centre lies between the selvedges; all, where these are not known.

    The bed beside the cloth has scratches and bright rails, and none of them is a defect. The selvedge
    itself has cords that look like broken ends, and is cut off or not graded.

    Args:
        found: boxes in frame pixels.
        position: of the frame.
        margin_mm: width of the selvedge, on both sides, in which nothing is reported.
    """
    if position is None:
        return found
    centres_px = found.boxes_xyxy_px[:, [0, 2]].mean(axis=1)
    margin_px = margin_mm / position.mm_per_px_across
    left = -np.inf if position.left_selvedge_px is None else position.left_selvedge_px + margin_px
    right = np.inf if position.right_selvedge_px is None else position.right_selvedge_px - margin_px
    return found.take((centres_px >= left) & (centres_px <= right))


def cloth_from_frame(
    found: Detections, position: FramePosition, class_names: Sequence[str], frame_id: int | None = None
) -> list[ClothDefect]:
    """Bring detections from frame pixels to the roll.

    Args:
        found: boxes in frame pixels.
        position: of the frame.
        class_names: of the run.
        frame_id: of the frame; None: the defects do not say where they were seen.
    """
    left_edge_px = position.left_selvedge_px or 0.0
    across, along = position.mm_per_px_across, position.mm_per_px_along / 1000
    return [
        ClothDefect(
            class_names[int(class_id)],
            float(score),
            position.along_m + float(y1) * along,
            position.along_m + float(y2) * along,
            (float(x1) - left_edge_px) * across,
            (float(x2) - left_edge_px) * across,
            seen=_sighting(frame_id, (float(x1), float(y1), float(x2), float(y2))),
            shape=shape,
            appearance=appearance,
        )
        for (x1, y1, x2, y2), score, class_id, shape, appearance in zip(
            found.boxes_xyxy_px,
            found.scores,
            found.class_ids,
            found.shapes,
            found.appearances or (None,) * len(found),
            strict=True,
        )
    ]


def _sighting(frame_id: int | None, box: tuple[float, float, float, float]) -> Sighting | None:
    """Say where a box is seen; None if it lies mostly on lines carried over from the frame before."""
    _, top, _, bottom = box
    return None if frame_id is None or top + bottom <= 0 else Sighting(frame_id, box)
