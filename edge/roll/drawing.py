"""Draw the map of a roll: every defect and every gap, row by row, each row a drawing of its own.

Rows are as wide as the page, or the screen; widths along the roll are fractions of that, so that letters
and marks keep their size. A page break falls between rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import ceil
from typing import NamedTuple

from edge.core.palette import class_colour
from edge.roll.document import CutOut, Defect, RollDocument, Stretch, Strip

ROW_HEIGHT_PX, LABELS_PX, BAND_PX, TICKS_PX = 44.0, 13.0, 6.0, 22.0
TOP_PX = LABELS_PX + BAND_PX
MOST_ROWS = 12
"""So many fill a page of paper."""

ROW_LENGTHS_M = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
SMALLEST_MARK_PX = 5.0

LABEL_APART = 0.03
"""Numbers of defects closer than this fraction of a row would overprint: only the first stands."""

MOST_MARKS = 20_000
"""Defects, and gaps, on a map; a page with more of them opens in no browser."""

HATCH = (
    '<svg class="defs" width="0" height="0" aria-hidden="true"><defs>'
    '<pattern id="gap" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="8" height="8" class="bare"/>'
    '<line x1="0" y1="0" x2="0" y2="8" class="hatch"/></pattern></defs></svg>'
)


def row_length_m(length_m: float) -> float:
    """Return how many metres a row of the map shows."""
    fitting = (metres for metres in ROW_LENGTHS_M if length_m / metres <= MOST_ROWS)
    return float(next(fitting, length_m / MOST_ROWS))


class _Span(NamedTuple):
    """Part of a row, as fractions of its length."""

    row: int
    left: float
    right: float


class _Frame(NamedTuple):
    """What a map shows: rows of so many metres, and the cloth from one side to the other."""

    rows: int
    per_row_m: float
    length_m: float
    left_mm: float
    right_mm: float

    def spans(self, start_m: float, end_m: float) -> list[_Span]:
        """Cut a stretch at the ends of rows.

        What lies off the roll, because the cloth ran back or boxes jitter, is drawn at its ends.
        """
        start_m, end_m = (min(max(at_m, 0.0), self.length_m) for at_m in (start_m, end_m))
        per_row_m = self.per_row_m
        first = min(int(start_m / per_row_m), self.rows - 1)
        last = min(max(first, ceil(end_m / per_row_m - 1e-9) - 1), self.rows - 1)
        return [
            _Span(
                row,
                max(start_m, row * per_row_m) / per_row_m - row,
                min(end_m, (row + 1) * per_row_m) / per_row_m - row,
            )
            for row in range(first, last + 1)
        ]

    def down_px(self, at_mm: float) -> float:
        """Return how far below the upper edge of its row a place across the cloth is drawn."""
        across = (at_mm - self.left_mm) / max(self.right_mm - self.left_mm, 1e-9)
        return TOP_PX + max(0.0, min(1.0, across)) * ROW_HEIGHT_PX


def sides_mm(document: RollDocument) -> tuple[float, float]:
    """Return where the cloth begins and ends on the map."""
    cloth = document.inspection.cloth
    if cloth is not None and cloth.right_mm > cloth.left_mm:
        return cloth.left_mm, cloth.right_mm
    return 0.0, max((defect.right_mm for defect in document.defects), default=0.0) or 1000.0


def draw_map(document: RollDocument) -> str:
    """Draw a roll: each row a stretch of it, the left selvedge above; defects by class and number, what was
    not seen hatched: stretches as gaps, and strips that lie beside what the camera saw.

    Returns:
        An SVG element for each row; nothing in them comes from elsewhere, and all text is escaped. Empty
        where the length is not known.
    """
    length_m = document.inspection.length_m
    if not length_m:
        return ""
    per_row_m = row_length_m(length_m)
    rows = max(1, ceil(length_m / per_row_m - 1e-9))
    frame = _Frame(rows, per_row_m, length_m, *sides_mm(document))
    bodies: list[list[str]] = [_row(row, frame) for row in range(rows)]
    for row, drawn in _marks(document, frame):
        bodies[row].append(drawn)
    height = TOP_PX + ROW_HEIGHT_PX + TICKS_PX
    drawings = (
        f'<svg class="row" width="100%" height="{height:g}" role="img" '
        f'aria-label="{row * per_row_m:g} to {min((row + 1) * per_row_m, length_m):g} m">'
        f"{''.join(body)}</svg>"
        for row, body in enumerate(bodies)
    )
    return f'{HATCH}<div class="map">{"".join(drawings)}</div>'


def _marks(document: RollDocument, frame: _Frame) -> Iterator[tuple[int, str]]:
    """Yield row and drawing of all that lies on the cloth, what lies above last."""
    for gap in document.inspection.not_inspected[:MOST_MARKS]:
        yield from _gap(gap, frame)
    for strip in document.inspection.strips_not_seen:
        yield from _blind(strip, frame)
    for piece in document.cut_plan.pieces:
        yield from _band(piece.start_m, piece.end_m, frame)
    for stretch in document.cut_plan.cut_out[:MOST_MARKS]:
        yield from _cut_out(stretch, frame)
    defects = document.defects[:MOST_MARKS]
    for defect in defects:
        yield from _mark(defect, frame)
    yield from _numbers(defects, frame)


def _percent(fraction: float) -> str:
    return f"{fraction * 100:.3f}%"


def _row(row: int, frame: _Frame) -> list[str]:
    """Draw the cloth of a row and the metres below it."""
    start_m, bottom = row * frame.per_row_m, TOP_PX + ROW_HEIGHT_PX
    width = min(1.0, (frame.length_m - start_m) / frame.per_row_m)
    parts = [
        f'<rect x="0" y="{TOP_PX:g}" width="{_percent(width)}" height="{ROW_HEIGHT_PX:g}" class="cloth"/>'
    ]
    for tick in range(11):
        at_m = start_m + tick * frame.per_row_m / 10
        if at_m <= frame.length_m + 1e-9:
            x, odd, unit = _percent(tick / 10), " odd" if tick % 2 else "", "" if tick else " m"
            parts.append(
                f'<rect x="{x}" y="{bottom:g}" width="1" height="5" class="tick{odd}"/>'
                f'<text x="{x}" y="{bottom + 17:g}" class="at{odd}">{at_m:g}{unit}</text>'
            )
    return parts


def _gap(gap: Stretch, frame: _Frame) -> Iterator[tuple[int, str]]:
    if gap.start_m is None or gap.end_m is None:
        return
    title = escape(f"not inspected, {gap.reason}: {gap.start_m:.3f} to {gap.end_m:.3f} m")
    for row, left, right in frame.spans(gap.start_m, gap.end_m):
        yield (
            row,
            f'<rect class="gap" x="{_percent(left)}" y="{TOP_PX:g}" '
            f'style="width:max(1px,{_percent(right - left)})" height="{ROW_HEIGHT_PX:g}" '
            f'fill="url(#gap)"><title>{title}</title></rect>',
        )


def _blind(strip: Strip, frame: _Frame) -> Iterator[tuple[int, str]]:
    """Hatch a strip of the cloth that no camera saw, along the whole roll."""
    title = escape(f"not seen: {strip.left_mm:.0f} to {strip.right_mm:.0f} mm from the left selvedge")
    y1, y2 = frame.down_px(strip.left_mm), frame.down_px(strip.right_mm)
    for row, left, right in frame.spans(0.0, frame.length_m):
        yield (
            row,
            f'<rect class="gap blind" x="{_percent(left)}" y="{y1:.2f}" '
            f'width="{_percent(right - left)}" height="{max(1.0, y2 - y1):.2f}" '
            f'fill="url(#gap)"><title>{title}</title></rect>',
        )


def _band(start_m: float, end_m: float, frame: _Frame) -> Iterator[tuple[int, str]]:
    """Draw a line above the rows where a piece lies, with a tick where it is cut."""
    for row, left, right in frame.spans(start_m, end_m):
        y = LABELS_PX + 1
        yield (
            row,
            f'<rect class="piece" x="{_percent(left)}" y="{y:g}" height="4" '
            f'width="{_percent(right - left)}"/>',
        )
        for at, is_cut in (
            (left, row * frame.per_row_m <= start_m),
            (right, end_m <= (row + 1) * frame.per_row_m),
        ):
            if is_cut:
                height = BAND_PX + ROW_HEIGHT_PX
                yield (
                    row,
                    f'<rect class="cut" x="{_percent(at)}" y="{y - 1:g}" width="1.5" height="{height:g}"/>',
                )


def _cut_out(stretch: CutOut, frame: _Frame) -> Iterator[tuple[int, str]]:
    """Draw a line above the rows where a kind of defect has to be cut out."""
    kinds = ", ".join(stretch.kinds)
    title = escape(f"cut out: {kinds}, {stretch.start_m:.2f} to {stretch.end_m:.2f} m")
    for row, left, right in frame.spans(stretch.start_m, stretch.end_m):
        yield (
            row,
            f'<rect class="must-cut" x="{_percent(left)}" y="{LABELS_PX + 1:g}" height="4" '
            f'style="width:max(3px,{_percent(right - left)})"><title>{title}</title></rect>',
        )


def _mark(defect: Defect, frame: _Frame) -> Iterator[tuple[int, str]]:
    y1, y2 = frame.down_px(defect.left_mm), frame.down_px(defect.right_mm)
    grown = max(0.0, SMALLEST_MARK_PX - (y2 - y1)) / 2
    title = escape(f"{defect.number}: {called(defect)}, {defect.start_m:.3f} m, {defect.left_mm:.0f} mm")
    for row, left, right in frame.spans(defect.start_m, defect.end_m):
        centre = _percent((left + right) / 2)
        width = f"max({SMALLEST_MARK_PX:g}px,{_percent(right - left)})"
        yield (
            row,
            f'<rect class="defect" x="{centre}" y="{y1 - grown:.2f}" '
            f'height="{y2 - y1 + 2 * grown:.2f}" fill="{class_colour(defect.class_name).hex}" '
            f'style="width:{width};x:calc({centre} - {width}/2)"><title>{title}</title></rect>',
        )


def _numbers(defects: Sequence[Defect], frame: _Frame) -> Iterator[tuple[int, str]]:
    """Write the numbers of defects above the cloth, as far as they do not print over each other."""
    last: dict[int, float] = {}
    for defect in defects:
        row, left, _ = frame.spans(defect.start_m, defect.end_m)[0]
        if left - last.get(row, -1.0) >= LABEL_APART:
            last[row] = left
            y = LABELS_PX - 2
            yield row, f'<text x="{_percent(left)}" y="{y:g}" class="number">{defect.number}</text>'


def called(defect: Defect) -> str:
    """Return class and kind, or shape, for a person to read."""
    more = defect.kind or defect.shape
    return f"{defect.class_name} ({more})" if more else defect.class_name
