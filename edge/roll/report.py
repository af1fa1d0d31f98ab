"""Render a roll as one printable page: HTML that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from typing import Any

from edge import __version__
from edge.cloth.width import Across
from edge.roll.contents import Roll
from edge.roll.cuts import LEAST_INSPECTED, LONGEST_M, Piece, suggest_cuts
from edge.roll.drawing import HATCH, class_names, colour_of, draw_map
from edge.roll.images import images_section
from edge.roll.values import STRIP_NOT_SEEN

MOST_ROWS_OF_DEFECTS = 2000


@dataclass(frozen=True, slots=True)
class PieceRequest:
    """Say what a piece has to be, for the suggestion where to cut.

    Attributes:
        least_m: shortest length.
        most_points: per 100 square metres; None for the limit of the best grade.
    """

    least_m: float = 25.0
    most_points: float | None = None

    def points_for(self, roll: Roll) -> float | None:
        """Return the limit; None if nobody set one."""
        if self.most_points is not None:
            return self.most_points
        return min(roll.grade_limits.values(), default=None)


def report_page(roll: Roll, wanted: PieceRequest | None = None) -> str:
    """Write the report of a roll: facts, map, cut suggestions, gaps, defects, images, events.

    Returns:
        A whole HTML page. It loads nothing, runs nothing, and every text in it is escaped.
    """
    wanted = wanted or PieceRequest()
    points = wanted.points_for(roll)
    pieces = None if points is None else suggest_cuts(roll, wanted.least_m, points)
    style = resources.files("edge.roll").joinpath("report.css").read_text(encoding="utf-8")
    sections = [
        _head(roll),
        _facts(roll),
        _warnings(roll),
        _map(roll, pieces or ()),
        _cuts(roll, pieces, wanted.least_m, points),
        _gaps(roll),
        _defects(roll),
        images_section(roll),
        _events(roll),
    ]
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(roll.name)}</title><style>{style}</style></head>\n"
        f"<body>{''.join(sections)}</body></html>\n"
    )


def _head(roll: Roll) -> str:
    head = roll.head
    article = f", article {escape(head['article'])}" if head["article"] else ""
    ended = f" to {escape(_when(head['ended_utc']))} UTC" if head["ended_utc"] else " UTC, still running"
    return (
        f"<h1>{escape(roll.name)}</h1><p class='sub'>{escape(head['status'])}{article}; "
        f"{escape(_when(head['started_utc']))}{ended}; camera {escape(head['camera'])}; "
        f"model {escape(head['model_digest'][:16])}; loomsight {escape(head['loomsight'])}</p>"
    )


def _facts(roll: Roll) -> str:
    grade = roll.grade
    per_area = grade.points_per_100_m2
    known, area = bool(roll.m_per_line), roll.inspected_m2
    facts = {
        "grade": grade.grade or "unknown",
        "points per 100 m²": "unknown" if per_area is None else f"{per_area:.1f}",
        "points": str(grade.points),
        "defects": str(len(roll.defects)),
        "length": f"{roll.length_m:.2f} m" if known else "unknown",
        "inspected": f"{roll.inspected_m:.2f} m" if known else "unknown",
        "coverage of the length": _fraction(roll.coverage),
        "width": "unknown" if roll.width_mm is None else f"{roll.width_mm:.0f} mm",
        "width seen": _seen_width(roll.across),
        "area inspected": "unknown" if area is None or not known else f"{area:.2f} m²",
        "coverage of the area": _fraction(roll.area_coverage),
    }
    cells = "".join(f"<div><dt>{name}</dt><dd>{escape(text)}</dd></div>" for name, text in facts.items())
    limits = ", ".join(
        f"{escape(name)} up to {most:g}"
        for name, most in sorted(roll.grade_limits.items(), key=lambda item: item[1])
    )
    note = "Four-point system (ASTM D5430); points per 100 m² of the area that was inspected: "
    note += f"{limits or 'no limits set'}."
    return f"<dl class='facts'>{cells}</dl><p class='sub'>{note}</p>{_reviewed(roll)}"


def _reviewed(roll: Roll) -> str:
    """Say what people judged, and how the roll would stand without what they rejected."""
    verdicts = roll.verdicts
    if not verdicts:
        return ""
    counts = " and ".join(f"{verdict} {count}" for verdict, count in verdicts.items())
    text = f"People {counts} of {len(roll.defects)} defects."
    grade = roll.grade_after_review
    if verdicts.get("rejected") and grade.points_per_100_m2 is not None:
        text += f" Without those that were rejected: {grade.points_per_100_m2:.1f} points per 100 m²"
        text += f", {escape(grade.grade)}." if grade.grade else "."
    return f"<p>{text}</p>"


def _when(utc: str) -> str:
    """Write a time to the second, as a person reads it."""
    return utc[:19].replace("T", " ")


def _fraction(fraction: float | None) -> str:
    return "unknown" if fraction is None else _percent(fraction)


def _seen_width(across: Across) -> str:
    """Say how much of the width was seen, and of how much."""
    if across.part is None:
        strips = across.seen or ()
        return f"{sum(strip.width_mm for strip in strips):.0f} mm" if strips else "unknown"
    if across.seen is None:
        return "not recorded"
    return f"{across.seen_mm:.0f} of {across.part.width_mm:.0f} mm"


def _percent(fraction: float) -> str:
    """Write a fraction so that only all of it is called 100 %."""
    return "100 %" if fraction == 1 else f"{min(fraction * 100, 99.99):.2f} %"


def _warnings(roll: Roll) -> str:
    warnings = []
    if (roll.coverage is not None and roll.coverage < 1) or roll.across.unseen:
        warnings.append("Not all of this roll was inspected: the hatched parts of the map were not seen.")
    if roll.across.unseen and roll.together is None:
        warnings.append(
            f"Of the width of the cloth {_seen_width(roll.across)} were seen: {_strips(roll)} were not."
        )
    warnings += _of_the_record(roll)
    if roll.head["status"] in ("interrupted", "failed"):
        warnings.append(f"The run {escape(roll.head['status'])}: what came after it is not in this report.")
    if any(event.kind == "roll continued" for event in roll.events):
        warnings.append("The roll was inspected in several runs; cloth between them has no length here.")
    warnings += [escape(event.detail) for event in roll.events if event.kind == STRIP_NOT_SEEN]
    return "".join(f"<p class='warn'>{text}</p>" for text in warnings)


def _strips(roll: Roll) -> str:
    """Name the strips that were not seen."""
    strips = [f"{strip.left_mm:.0f} to {strip.right_mm:.0f} mm" for strip in roll.across.unseen]
    return " and ".join(strips)


def _of_the_record(roll: Roll) -> list[str]:
    """Say what the record does not tell, or not any more."""
    warnings = []
    if roll.across.part is not None and roll.across.seen is None:
        warnings.append(
            "The record does not say how wide the view of the camera was: all of the width is graded."
        )
    if roll.damaged:
        rows = ", ".join(f"{count} of {escape(table)}" for table, count in roll.damaged.items())
        warnings.append(
            f"Damaged rows of the record ({rows}) are left out: this report, and the grade, lack them."
        )
    return warnings


def _map(roll: Roll, pieces: Sequence[Piece]) -> str:
    drawn = draw_map(roll, pieces)
    if not drawn:
        return "<h2>Map</h2><p>The camera knew no position: there is no map.</p>"
    classes = class_names(roll)
    legend = "".join(
        f"<span><i style='background:{colour_of(name, classes)}'></i>{escape(name)}</span>"
        for name in classes
    )
    swatch = f'<svg viewBox="0 0 12 12" style="width:12px;height:12px;display:inline-block">{HATCH}'
    swatch += '<rect width="12" height="12" fill="url(#gap)"/></svg>'
    legend += f"<span>{swatch} not inspected</span>"
    if pieces:
        legend += "<span><i style='background:#1e8449;height:5px;vertical-align:3px'></i>good piece</span>"
    return f"<h2>Map</h2>{drawn}<p class='legend'>{legend}</p>"


def _cuts(roll: Roll, pieces: Sequence[Piece] | None, least_m: float, points: float | None) -> str:
    title = "<h2>Where to cut</h2>"
    if points is None:
        return f"{title}<p>No limit of points is set.</p>"
    wanted = f"at least {least_m:g} m with at most {points:g} points per 100 m²"
    if pieces is None:
        why = "the roll is too long" if roll.length_m > LONGEST_M else "length or width is not known"
        return f"{title}<p>Pieces of {wanted}: unknown, as {why}.</p>"
    if not pieces:
        hidden = (roll.across.fraction or 0.0) < LEAST_INSPECTED
        why = ": less than half of the width was seen" if hidden else ""
        return f"{title}<p>There is no piece of {wanted}{why}.</p>"
    rows = [
        [f"{metres:.2f}" for metres in (p.start_m, p.end_m, p.end_m - p.start_m, p.inspected_m2)]
        + [str(p.points), f"{p.points_per_100_m2:.1f}"]
        for p in pieces
    ]
    kept_m = sum(p.end_m - p.start_m for p in pieces)
    note = f"<p>Pieces of {wanted}: {len(pieces)}, together {kept_m:.2f} of {roll.length_m:.2f} m.</p>"
    names = ("from m", "to m", "length m", "inspected m²", "points", "per 100 m²")
    if roll.across.unseen:
        note += f"<p class='warn'>The strips at {_strips(roll)} were seen of no piece.</p>"
    return title + note + _table(names, rows, numbers=range(6))


def _gaps(roll: Roll) -> str:
    title = "<h2>Not inspected</h2>" + _not_across(roll)
    if not roll.gaps:
        return f"{title}<p>{_no_gap(roll)}</p>"
    rows = [
        (
            "somewhere" if gap.start_m is None else f"{gap.start_m:.3f}",
            "" if gap.end_m is None else f"{gap.end_m:.3f}",
            f"{gap.lines * roll.m_per_line:.3f}",
            gap.reason,
            _when(gap.utc),
        )
        for gap in roll.gaps[:MOST_ROWS_OF_DEFECTS]
    ]
    names = ("from m", "to m", "length m", "why", "UTC")
    return f"{title}{_left_out(len(roll.gaps))}" + _table(names, rows, numbers=range(3))


def _not_across(roll: Roll) -> str:
    """Say which strips of the cloth were not seen on any line."""
    if not roll.across.unseen:
        return ""
    return f"<p>Along the whole roll, from the left selvedge: {_strips(roll)}.</p>"


def _no_gap(roll: Roll) -> str:
    """Say what was inspected where there is no gap, and no more than that."""
    if not roll.head["passed_lines"]:
        return "No line of cloth was counted."
    across = roll.across
    if across.part is None or across.seen is None:
        return "No delivered line was missed. How much of the width of the cloth was seen is not known."
    if across.unseen:
        return "No delivered line was missed in the width that was seen."
    return "Nothing: every line delivered was inspected, in its whole width."


def _defects(roll: Roll) -> str:
    if not roll.defects:
        return "<h2>Defects</h2><p>None were found in what was inspected.</p>"
    rows = [
        (
            str(number),
            row.class_text,
            row.kind,
            f"{row.defect.start_m:.3f}",
            f"{row.defect.end_m:.3f}",
            f"{row.defect.left_mm:.0f}",
            f"{row.defect.right_mm:.0f}",
            str(row.points),
            f"{row.defect.score:.2f}",
            row.judged,
            _when(row.utc),
        )
        for number, row in enumerate(roll.defects[:MOST_ROWS_OF_DEFECTS], start=1)
    ]
    names = ("no", "class", "kind", "from m", "to m", "left mm", "right mm", "points", "score", "verdict")
    table = _table((*names, "UTC"), rows, numbers=(0, *range(3, 9)))
    return f"<h2>Defects</h2>{_left_out(len(roll.defects))}{table}"


def _left_out(count: int) -> str:
    if count <= MOST_ROWS_OF_DEFECTS:
        return ""
    return f"<p>The first {MOST_ROWS_OF_DEFECTS} of {count}; loomsight roll export writes all.</p>"


def _events(roll: Roll) -> str:
    rows = [(_when(event.utc), event.kind, event.detail) for event in roll.events[:MOST_ROWS_OF_DEFECTS]]
    made = f"<p class='sub'>Made by loomsight {__version__}.</p>"
    if not rows:
        return made
    return f"<h2>Events</h2>{_left_out(len(roll.events))}{_table(('UTC', 'what', 'more'), rows)}{made}"


def _table(names: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Iterable[int] = ()) -> str:
    """Write a table; the columns in `numbers` are set to the right."""
    kinds = {column: " class='n'" for column in numbers}
    head = "".join(f"<th{kinds.get(column, '')}>{escape(name)}</th>" for column, name in enumerate(names))
    body = "".join(
        "<tr>"
        + "".join(f"<td{kinds.get(column, '')}>{escape(str(cell))}</td>" for column, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
