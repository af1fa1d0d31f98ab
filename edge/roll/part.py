"""Hold the state of one roll within a run: a change of roll replaces all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edge.cameras.protocol import Frame, FramePosition
from edge.cloth.coverage import Coverage
from edge.cloth.defects import TOUCH_MM, ClothDefect
from edge.cloth.found import DefectsFound
from edge.cloth.gaps import Gap
from edge.cloth.grading import area_m2, grade_points
from edge.cloth.mask import Mask
from edge.cloth.merger import DefectMerger
from edge.cloth.recurring import Recurrence
from edge.cloth.sums import CoverageSums
from edge.cloth.width import Across, ClothWidth
from edge.core.events import RecordedEvent
from edge.roll.values import RECURRED, RECURS, RollTerms

SLIVER_M = TOUCH_MM / 2000
"""The jitter of a box's edge."""


@dataclass(frozen=True, slots=True)
class EndedRoll:
    """Say what a roll, or this run's part of it, came to.

    Attributes:
        start_m: where it began, in metres of the camera.
        across: how much of the width of the cloth was seen.
    """

    terms: RollTerms
    start_m: float
    sums: CoverageSums
    defects: int
    points: int
    across: Across

    @property
    def inspected_m2(self) -> float | None:
        """Area that was inspected; None where the width of the cloth is not known."""
        return area_m2(self.sums.metres_inspected, self.across.seen_mm)

    def as_json(self) -> dict[str, Any]:
        """Return it for a summary; metres and grade are None where the camera knows no position."""
        sums, knows, area = self.sums, self.sums.knows_metres, self.inspected_m2
        grade = grade_points(self.points, area, self.terms.grade_limits)
        return {
            "name": self.terms.name,
            "article": self.terms.article,
            "start_m": round(self.start_m, 4) if knows else None,
            "metres_passed": round(sums.lines_delivered * sums.m_per_line, 4) if knows else None,
            "metres_inspected": round(sums.metres_inspected, 4) if knows else None,
            "coverage": None if sums.fraction is None else round(sums.fraction, 6),
            "frames": sums.frames_inspected,
            "defects": self.defects if knows else None,
            **(grade.as_json() if knows else {"points": None, "points_per_100_m2": None, "grade": None}),
            **across_facts(self.across),
            "inspected_m2": None if area is None or not knows else round(area, 4),
        }


def across_facts(across: Across) -> dict[str, float | None]:
    """Return how wide the cloth is and how much of it was seen, for a summary."""
    sides = {"width_mm": across.width_mm, "seen_width_mm": across.seen_mm}
    return {name: None if mm is None else round(mm, 1) for name, mm in sides.items()}


@dataclass(slots=True)
class RollPart:
    """Account for one roll, from the line where it begins to the one where the next begins.

    Attributes:
        terms: how it is called and graded.
        number: of the roll in this run, from 1.
        defects: complete ones, in metres of the camera.
        before: sums of the rolls before it in this run.
        last_line: first line of the last frame, wherever the roll began; None before the first.
    """

    terms: RollTerms = field(default_factory=RollTerms)
    number: int = 1
    coverage: Coverage = field(default_factory=Coverage)
    width: ClothWidth = field(default_factory=ClothWidth)
    merger: DefectMerger = field(default_factory=DefectMerger)
    defects: DefectsFound = field(default_factory=DefectsFound)
    before: CoverageSums = field(default_factory=CoverageSums)
    last_line: int = 0

    def count_unreadable(self, total: int) -> None:
        """Count the images of a run that could not be read; those of earlier rolls are theirs."""
        self.coverage.frames_unreadable = total - self.before.frames_unreadable

    def place(
        self,
        pieces: Sequence[ClothDefect],
        frame: Frame,
        position: FramePosition,
        shared_lines: int,
        filled: Sequence[Gap],
    ) -> list[ClothDefect]:
        """Put what a frame showed on the roll.

        Args:
            pieces: that begin and end on this roll, in metres of the camera.
            frame, position: of them.
            shared_lines: of the frame that are shown again with the next one, if that follows on.
            filled: parts of gaps that the frame closed.
        Returns:
            Defects that are complete.
        """
        m_per_line = position.mm_per_px_along / 1000
        passed_m = position.along_m
        if frame.follows_on:  # of other frames, the next one may overlap this one
            passed_m += (len(frame.image) - shared_lines) * m_per_line
        goes_back, self.last_line = position.first_line < self.last_line, position.first_line
        return self.merger.add(
            pieces,
            passed_m,
            self._in_metres(filled) if filled else (),
            goes_back,
            frame.image.shape[1] * position.mm_per_px_across,
        )

    def _in_metres(self, gaps: Sequence[Gap]) -> list[tuple[float, float]]:
        m_per_line = self.coverage.m_per_line
        return [(gap.start * m_per_line, gap.end * m_per_line) for gap in gaps]

    def take(self, complete: Sequence[ClothDefect]) -> None:
        """Count complete defects; points are those of metres that begin with the roll."""
        self.defects.origin_m = self.coverage.first_line * self.coverage.m_per_line
        self.defects += complete

    def ended(self) -> EndedRoll:
        """Return what it came to, as it stands."""
        coverage = self.coverage
        return EndedRoll(
            self.terms,
            coverage.first_line * coverage.m_per_line,
            coverage.sums(),
            len(self.defects),
            self.defects.points,
            self.across,
        )

    @property
    def across(self) -> Across:
        """How much of the width of the cloth was seen up to now."""
        return self.terms.across(self.width.mm, self.coverage.view.strip())

    def following(self, terms: RollTerms) -> RollPart:
        """Return the roll that begins behind the last line of this one."""
        coverage = self.coverage.following()
        begin_m = coverage.first_line * coverage.m_per_line if coverage.knows_metres else None
        return RollPart(
            terms,
            self.number + 1,
            coverage,
            merger=DefectMerger(begins_m=begin_m),
            before=self.before + self.coverage.sums(),
            last_line=self.last_line,
        )


def cut_at(pieces: Sequence[ClothDefect], at_m: float) -> tuple[list[ClothDefect], list[ClothDefect]]:
    """Cut the pieces that a frame shows at a place: what lies before it, and what lies behind.

    Of a piece that reaches over it by less than the jitter of a box, only the longer part is kept.
    """
    before, behind = [], []
    for piece in pieces:
        length_m, further_m = at_m - piece.start_m, piece.end_m - at_m
        if length_m >= min(further_m, SLIVER_M):
            before.append(replace(piece, end_m=min(piece.end_m, at_m)))
        if further_m > 0 and (further_m > length_m or further_m >= SLIVER_M):
            behind.append(replace(piece, start_m=max(piece.start_m, at_m)))
    return before, behind


def parts_of_frame(
    frame: Frame, cloth_lines: Mask | None, pieces: list[ClothDefect], row: int | None
) -> Iterator[tuple[bool, Frame, Mask | None, list[ClothDefect]]]:
    """Yield a frame whole, or what lies before a row and from there on; say whether a roll begins with it.

    With each come its lines with cloth and the pieces that it shows.
    """
    position = frame.position
    if not row or position is None or row >= len(frame.image):
        yield row == 0, frame, cloth_lines, pieces
        return
    at_m = position.along_m + row * position.mm_per_px_along / 1000
    before, behind = cut_at(pieces, at_m)
    upper, lower = (None, None) if cloth_lines is None else (cloth_lines[:row], cloth_lines[row:])
    yield False, replace(frame, image=frame.image[:row]), upper, before
    moved = replace(frame, image=frame.image[row:], position=replace(position, along_m=at_m))
    yield True, moved, lower, behind


def recurrence_event(seen: Recurrence) -> RecordedEvent:
    """Return the event of what comes again and again at the same ends of the warp."""
    first = seen.first
    place = f"{first.class_name} at {first.left_mm:.0f} to {first.right_mm:.0f} mm"
    length_m = seen.end_m - first.start_m
    detail = f"{place}: {seen.times} times within {length_m:.2f} m, reported once"
    data = {
        "class_name": first.class_name,
        "left_mm": round(first.left_mm, 1),
        "right_mm": round(first.right_mm, 1),
        "times": seen.times,
        "length_m": round(length_m, 3),
    }
    kind = RECURRED if seen.has_ended else RECURS
    return RecordedEvent(kind, detail, first.start_m, data=data)
