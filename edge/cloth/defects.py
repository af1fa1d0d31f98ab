"""Defects on the roll: from boxes in frames to one defect each, in metres and millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

import numpy as np

from edge.cameras.protocol import FramePosition
from edge.detections import Detections, Shape, joined_shape

TOUCH_MM = 6.0
"""Boxes of one class closer than this are one defect: about twice the jitter of a detector's box edge at
0.2 mm per px, and well below the distance at which an inspector counts two."""


FILLED_SHARE = 0.75
"""Two pieces are kept as one rectangle if they fill this share of it: those of a yarn do, from frame to
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
        left_mm, right_mm: from the left selvedge; from the left edge of the picture if the selvedge is
            not known.
        pieces: the rectangles it consists of, if it does not fill the one around it: a yarn across that
            meets one along leaves most of that free, and what lies there is another defect.
        seen: where its picture shows it; None if that is not known.
        shape: of one that is unclassified; None where a detector has named it.
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

    def touches(self, other: ClothDefect, reach_mm: float = TOUCH_MM) -> bool:
        """Tell whether two defects overlap or lie closer than `reach_mm`, whatever their class."""
        return self._reaches(other, reach_mm) and any(
            piece._reaches(others, reach_mm)
            for piece in self.pieces or (self,)
            for others in other.pieces or (other,)
        )

    def joined(self, other: ClothDefect) -> ClothDefect:
        """Return the defect that consists of both, with the class of the one that scores higher."""
        pieces = list(self.pieces or (self,))
        for piece in other.pieces or (other,):
            _add_piece(pieces, piece)
        detailed = 1 < len(pieces) <= MOST_PIECES
        return replace(self._around(other), pieces=tuple(pieces) if detailed else ())

    def as_json(self) -> dict[str, str | float]:
        """Return class, score and the rectangle around it, and its shape if it has one, for a summary."""
        left_out = {"pieces", "seen"} | ({"shape"} if self.shape is None else set())
        return {name: getattr(self, name) for name in self.__slots__ if name not in left_out}

    def moved_across(self, by_mm: float) -> ClothDefect:
        """Return the defect with other millimetres from the left selvedge."""
        if not by_mm:
            return self
        pieces = tuple(piece.moved_across(by_mm) for piece in self.pieces)
        return replace(self, left_mm=self.left_mm + by_mm, right_mm=self.right_mm + by_mm, pieces=pieces)

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
        )


def class_and_shape(defect: ClothDefect) -> str:
    """Return the class for a person to read, such as `broken` or `unclassified (weft line)`."""
    return defect.class_name if defect.shape is None else f"{defect.class_name} ({defect.shape})"


def _add_piece(pieces: list[ClothDefect], piece: ClothDefect) -> None:
    """Add a rectangle to others, in place; those that together nearly fill one become that one."""
    for index, other in enumerate(pieces):
        around = piece._around(other)
        if piece.area_mm2 + other.area_mm2 >= FILLED_SHARE * around.area_mm2:
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
        )
        for (x1, y1, x2, y2), score, class_id, shape in zip(
            found.boxes_xyxy_px, found.scores, found.class_ids, found.shapes, strict=True
        )
    ]


def _sighting(frame_id: int | None, box: tuple[float, float, float, float]) -> Sighting | None:
    """Say where a box is seen; None if it lies mostly on lines carried over from the frame before."""
    _, top, _, bottom = box
    return None if frame_id is None or top + bottom <= 0 else Sighting(frame_id, box)


class DefectMerger:
    """Make one defect of the pieces that consecutive frames show of it.

    A defect stays open while the cloth that passes could still add to it, so a warp yarn missing for
    metres is one defect that grows.

    Args:
        touch_mm: pieces closer than this are one defect.
        begins_m: what lies before this place belongs to an earlier roll; None if nothing does.
    """

    def __init__(self, touch_mm: float = TOUCH_MM, begins_m: float | None = None) -> None:
        self._touch_mm = touch_mm
        self._open: list[ClothDefect] = []
        self._settled_m = -inf if begins_m is None else begins_m

    @property
    def growing(self) -> tuple[ClothDefect, ...]:
        """Defects that what comes may add to."""
        return tuple(self._open)

    def add(
        self,
        pieces: Sequence[ClothDefect],
        passed_m: float,
        filled: Sequence[tuple[float, float]] = (),
        goes_back: bool = False,
    ) -> list[ClothDefect]:
        """Take in the pieces of one frame.

        Cloth that runs back and forward again shows its defects again: what lies where defects were
        completed before is left out, but for stretches that were a gap until now.

        Args:
            pieces: what the frame shows.
            passed_m: everything above it has been seen for the last time, if the cloth goes on.
            filled: stretches (start, end) of the frame that passed unseen before.
            goes_back: True if the frame lies before the last one: then nothing is complete.
        Returns:
            Defects that are complete: nothing that comes can touch them.
        """
        for piece in pieces:
            for part in self._unseen(piece, filled):
                self._take_in(part)
        self._settled_m = max(self._settled_m, passed_m)
        if goes_back:
            return []
        horizon_m = passed_m - self._touch_mm / 1000
        closed = [defect for defect in self._open if defect.end_m < horizon_m]
        self._open = [defect for defect in self._open if defect.end_m >= horizon_m]
        return closed

    def finish(self) -> list[ClothDefect]:
        """Return what is still open, at the end of the roll."""
        closed, self._open = self._open, []
        return closed

    def _unseen(self, piece: ClothDefect, filled: Sequence[tuple[float, float]]) -> list[ClothDefect]:
        """Return what of a piece lies where defects are not complete yet."""
        if piece.start_m >= self._settled_m:
            return [piece]
        parts = [
            replace(piece, start_m=max(piece.start_m, start_m), end_m=min(piece.end_m, end_m))
            for start_m, end_m in [*filled, (self._settled_m, inf)]
        ]
        return [part for part in parts if part.start_m < part.end_m]

    def _take_in(self, piece: ClothDefect) -> None:
        apart = []
        for defect in self._open:
            if defect.class_name == piece.class_name and defect.touches(piece, self._touch_mm):
                piece = piece.joined(defect)
            else:
                apart.append(defect)
        grew = len(apart) < len(self._open)
        self._open = apart
        if grew:
            self._take_in(piece)
        else:
            self._open.append(piece)
