"""Draw the map of a roll: an SVG of every defect and every gap, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil
from typing import NamedTuple

from edge.cloth.defects import class_and_kind
from edge.cloth.width import Strip
from edge.roll.contents import DefectRow, GapRow, Roll
from edge.roll.cuts import Piece

ROW_PX, ROW_HEIGHT_PX, ROW_PITCH_PX, MARGIN_PX = 1000.0, 54.0, 82.0, 44.0
MOST_ROWS = 24
ROW_LENGTHS_M = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
SMALLEST_MARK_PX = 5.0

MOST_MARKS = 20_000
"""Defects, and gaps, on a map; a page with more of them opens in no browser."""

COLOURS = ("#c0392b", "#1f6fb2", "#b8860b", "#6c3483", "#117864", "#af601a", "#2c3e50", "#a93226")


def row_length_m(length_m: float) -> float:
    """Return how many metres a row of the map shows."""
    fitting = (metres for metres in ROW_LENGTHS_M if length_m / metres <= MOST_ROWS)
    return float(next(fitting, length_m / MOST_ROWS))


class _Frame(NamedTuple):
    """What a map shows: rows of so many metres, and the cloth from one side to the other."""

    rows: int
    per_row_m: float
    length_m: float
    left_mm: float
    right_mm: float

    def spans(self, start_m: float, end_m: float) -> list[tuple[float, float, float]]:
        """Cut a stretch at the ends of rows: (left px, right px, top px) for each that it touches.

        What lies off the roll, because the cloth ran back or boxes jitter, is drawn at its ends.
        """
        start_m, end_m = (min(max(at_m, 0.0), self.length_m) for at_m in (start_m, end_m))
        per_row_m = self.per_row_m
        first = min(int(start_m / per_row_m), self.rows - 1)
        last = min(max(first, ceil(end_m / per_row_m - 1e-9) - 1), self.rows - 1)
        return [
            (
                MARGIN_PX + (max(start_m, row * per_row_m) / per_row_m - row) * ROW_PX,
                MARGIN_PX + (min(end_m, (row + 1) * per_row_m) / per_row_m - row) * ROW_PX,
                row * ROW_PITCH_PX,
            )
            for row in range(first, last + 1)
        ]

    def down_px(self, at_mm: float) -> float:
        """Return how far below the upper edge of its row a place across the cloth is drawn."""
        across = (at_mm - self.left_mm) / max(self.right_mm - self.left_mm, 1e-9)
        return max(0.0, min(1.0, across)) * ROW_HEIGHT_PX


def _sides_mm(roll: Roll) -> tuple[float, float]:
    """Return where the cloth begins and ends on the map."""
    part = roll.across.part
    if part is not None and part.width_mm:
        return part.left_mm, part.right_mm
    return 0.0, max((row.defect.right_mm for row in roll.defects), default=0.0) or 1000.0


def draw_map(roll: Roll, pieces: Sequence[Piece] = ()) -> str:
    """Draw a roll: each row a stretch of it, the left selvedge above; defects by class, what was not seen
    hatched: stretches as gaps, and strips that lie beside what the camera saw.

    Returns:
        An SVG element; nothing in it comes from elsewhere, and all text is escaped. Empty where the length
        is not known.
    """
    if not roll.length_m:
        return ""
    per_row_m = row_length_m(roll.length_m)
    rows = max(1, ceil(roll.length_m / per_row_m - 1e-9))
    frame = _Frame(rows, per_row_m, roll.length_m, *_sides_mm(roll))
    body = [_rows(rows, per_row_m, roll.length_m)]
    for gap in roll.gaps[:MOST_MARKS]:
        body += _gap(gap, frame)
    for strip in roll.across.unseen:
        body += _blind(strip, frame)
    for piece in pieces:
        body += _band(piece.start_m, piece.end_m, frame)
    classes = class_names(roll)
    for number, row in enumerate(roll.defects[:MOST_MARKS], start=1):
        body += _mark(number, row, frame, classes)
    size = f"0 -8 {ROW_PX + 2 * MARGIN_PX:g} {rows * ROW_PITCH_PX + 2:g}"
    return f'<svg viewBox="{size}" role="img" aria-label="Map of the roll">{HATCH}{"".join(body)}</svg>'


def class_names(roll: Roll) -> list[str]:
    """Return the classes of a roll's defects, sorted."""
    return sorted({row.defect.class_name for row in roll.defects})


def colour_of(class_name: str, classes: Sequence[str]) -> str:
    """Return the colour of a class on this roll."""
    return COLOURS[list(classes).index(class_name) % len(COLOURS)]


HATCH = (
    '<defs><pattern id="gap" width="8" height="8" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><rect width="8" height="8" fill="#e4e4e4"/>'
    '<line x1="0" y1="0" x2="0" y2="8" stroke="#777" stroke-width="3"/></pattern></defs>'
)


def _rows(rows: int, per_row_m: float, length_m: float) -> str:
    parts = []
    for row in range(rows):
        top, start_m = row * ROW_PITCH_PX, row * per_row_m
        width = min(1.0, (length_m - start_m) / per_row_m) * ROW_PX
        parts.append(
            f'<rect x="{MARGIN_PX:g}" y="{top:g}" width="{width:.2f}" '
            f'height="{ROW_HEIGHT_PX:g}" class="cloth"/>'
        )
        for tick in range(11):
            x, at_m = MARGIN_PX + tick * ROW_PX / 10, start_m + tick * per_row_m / 10
            if at_m <= length_m + 1e-9:
                label_y = top + ROW_HEIGHT_PX + 16
                parts.append(
                    f'<path d="M{x:g} {top + ROW_HEIGHT_PX:g}v5" class="tick"/>'
                    f'<text x="{x:g}" y="{label_y:g}">{at_m:g}{" m" if tick == 0 else ""}</text>'
                )
    return "".join(parts)


def _gap(gap: GapRow, frame: _Frame) -> list[str]:
    if gap.start_m is None or gap.end_m is None:
        return []
    title = escape(f"not inspected, {gap.reason}: {gap.start_m:.3f} to {gap.end_m:.3f} m")
    return [
        f'<rect class="gap" x="{left:.2f}" y="{top:g}" width="{max(1.0, right - left):.2f}" '
        f'height="{ROW_HEIGHT_PX:g}" fill="url(#gap)"><title>{title}</title></rect>'
        for left, right, top in frame.spans(gap.start_m, gap.end_m)
    ]


def _blind(strip: Strip, frame: _Frame) -> list[str]:
    """Hatch a strip of the cloth that no camera saw, along the whole roll."""
    title = escape(f"not seen: {strip.left_mm:.0f} to {strip.right_mm:.0f} mm from the left selvedge")
    y1, y2 = frame.down_px(strip.left_mm), frame.down_px(strip.right_mm)
    return [
        f'<rect class="gap blind" x="{left:.2f}" y="{top + y1:.2f}" width="{right - left:.2f}" '
        f'height="{max(1.0, y2 - y1):.2f}" fill="url(#gap)"><title>{title}</title></rect>'
        for left, right, top in frame.spans(0.0, frame.length_m)
    ]


def _band(start_m: float, end_m: float, frame: _Frame) -> list[str]:
    """Draw a line below the rows where a piece lies."""
    return [
        f'<path d="M{left:.2f} {top - 4:g}H{right:.2f}" class="piece"/>'
        for left, right, top in frame.spans(start_m, end_m)
    ]


def _mark(number: int, row: DefectRow, frame: _Frame, classes: Sequence[str]) -> list[str]:
    defect = row.defect
    y1, y2 = frame.down_px(defect.left_mm), frame.down_px(defect.right_mm)
    grown = max(0.0, SMALLEST_MARK_PX - (y2 - y1)) / 2
    title = escape(f"{number}: {class_and_kind(defect)}, {defect.start_m:.3f} m, {defect.left_mm:.0f} mm")
    colour = colour_of(defect.class_name, classes)
    marks = []
    for left, right, top in frame.spans(defect.start_m, defect.end_m):
        wider = max(0.0, SMALLEST_MARK_PX - (right - left)) / 2
        marks.append(
            f'<rect class="defect" x="{left - wider:.2f}" y="{top + y1 - grown:.2f}" '
            f'width="{right - left + 2 * wider:.2f}" height="{y2 - y1 + 2 * grown:.2f}" '
            f'fill="{colour}"><title>{title}</title></rect>'
        )
    return marks
