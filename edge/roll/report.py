"""A roll as one printable page: HTML that needs nothing beside it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge import __version__
from edge.cameras.folder import read_picture
from edge.errors import ImageError
from edge.roll.cuts import Piece, suggest_cuts
from edge.roll.drawing import HATCH, class_names, colour_of, draw_map
from edge.roll.reading import DefectRow, Roll

MOST_ROWS_OF_DEFECTS = 2000
MOST_PICTURES = 60
"""The worst defects are shown first; a page of hundreds of pictures prints for minutes."""

AROUND_PX = 48
LONGEST_PICTURE_PX = 360


@dataclass(frozen=True, slots=True)
class PieceWish:
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


def report_page(roll: Roll, wish: PieceWish | None = None) -> str:
    """Write the report of a roll: facts, map, cut suggestions, gaps, defects, pictures, events.

    Returns:
        A whole HTML page. It loads nothing, runs nothing, and every text in it is escaped.
    """
    wish = wish or PieceWish()
    points = wish.points_for(roll)
    pieces = None if points is None else suggest_cuts(roll, wish.least_m, points)
    style = resources.files("edge.roll").joinpath("report.css").read_text(encoding="utf-8")
    sections = [
        _head(roll),
        _facts(roll),
        _warnings(roll),
        _map(roll, pieces or ()),
        _cuts(roll, pieces, wish.least_m, points),
        _gaps(roll),
        _defects(roll),
        _pictures(roll),
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
    ended = escape(head["ended_utc"] or "still running")
    return (
        f"<h1>{escape(roll.name)}</h1><p class='sub'>{escape(head['status'])}{article}; "
        f"{escape(head['started_utc'])} to {ended}; camera {escape(head['camera'])}; "
        f"model {escape(head['model_digest'][:16])}; loomsight {escape(head['loomsight'])}</p>"
    )


def _facts(roll: Roll) -> str:
    grade = roll.grade
    per_area = grade.points_per_100_m2
    known = bool(roll.m_per_line)
    facts = {
        "grade": grade.grade or "unknown",
        "points per 100 m²": "unknown" if per_area is None else f"{per_area:.1f}",
        "points": str(grade.points),
        "defects": str(len(roll.defects)),
        "length": f"{roll.length_m:.2f} m" if known else "unknown",
        "inspected": f"{roll.inspected_m:.2f} m" if known else "unknown",
        "coverage": "unknown" if roll.coverage is None else _percent(roll.coverage),
        "width": "unknown" if roll.width_mm is None else f"{roll.width_mm:.0f} mm",
    }
    cells = "".join(f"<div><dt>{name}</dt><dd>{escape(text)}</dd></div>" for name, text in facts.items())
    limits = ", ".join(
        f"{escape(name)} up to {most:g}"
        for name, most in sorted(roll.grade_limits.items(), key=lambda item: item[1])
    )
    note = f"Four-point system (ASTM D5430); points per 100 m²: {limits or 'no limits set'}."
    return f"<dl class='facts'>{cells}</dl><p class='sub'>{note}</p>"


def _percent(share: float) -> str:
    """Write a share so that only all of it is called 100 %."""
    return "100 %" if share == 1 else f"{min(share * 100, 99.99):.2f} %"


def _warnings(roll: Roll) -> str:
    said = []
    if roll.coverage is not None and roll.coverage < 1:
        said.append("Not all of this roll was inspected: the hatched parts of the map were not seen.")
    if roll.head["status"] in ("interrupted", "failed"):
        said.append(f"The run {escape(roll.head['status'])}: what came after it is not in this report.")
    if any(event.kind == "roll continued" for event in roll.events):
        said.append("The roll was inspected in several runs; what passed between them has no length here.")
    return "".join(f"<p class='warn'>{text}</p>" for text in said)


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
    wish = f"at least {least_m:g} m with at most {points:g} points per 100 m²"
    if pieces is None:
        return f"{title}<p>Pieces of {wish}: unknown, as length or width is not known.</p>"
    if not pieces:
        return f"{title}<p>There is no piece of {wish}.</p>"
    rows = [
        [f"{metres:.2f}" for metres in (p.start_m, p.end_m, p.end_m - p.start_m, p.inspected_m)]
        + [str(p.points), f"{p.points_per_100_m2:.1f}"]
        for p in pieces
    ]
    kept_m = sum(p.end_m - p.start_m for p in pieces)
    note = f"<p>Pieces of {wish}: {len(pieces)}, {kept_m:.2f} of {roll.length_m:.2f} m.</p>"
    names = ("from m", "to m", "length m", "inspected m", "points", "per 100 m²")
    return title + note + _table(names, rows, numbers=range(6))


def _gaps(roll: Roll) -> str:
    if not roll.gaps:
        return "<h2>Not inspected</h2><p>Nothing: every line that passed was inspected.</p>"
    rows = [
        (
            "somewhere" if gap.start_m is None else f"{gap.start_m:.3f}",
            "" if gap.end_m is None else f"{gap.end_m:.3f}",
            f"{gap.lines * roll.m_per_line:.3f}",
            gap.reason,
            gap.utc,
        )
        for gap in roll.gaps[:MOST_ROWS_OF_DEFECTS]
    ]
    names = ("from m", "to m", "length m", "why", "UTC")
    return f"<h2>Not inspected</h2>{_left_out(len(roll.gaps))}" + _table(names, rows, numbers=range(3))


def _defects(roll: Roll) -> str:
    if not roll.defects:
        return "<h2>Defects</h2><p>None were found in what was inspected.</p>"
    rows = [
        (
            str(number),
            row.defect.class_name,
            f"{row.defect.start_m:.3f}",
            f"{row.defect.end_m:.3f}",
            f"{row.defect.left_mm:.0f}",
            f"{row.defect.right_mm:.0f}",
            str(row.points),
            f"{row.defect.score:.2f}",
            row.utc,
        )
        for number, row in enumerate(roll.defects[:MOST_ROWS_OF_DEFECTS], start=1)
    ]
    names = ("no", "class", "from m", "to m", "left mm", "right mm", "points", "score", "UTC")
    table = _table(names, rows, numbers=(0, *range(2, 8)))
    return f"<h2>Defects</h2>{_left_out(len(roll.defects))}{table}"


def _left_out(count: int) -> str:
    if count <= MOST_ROWS_OF_DEFECTS:
        return ""
    return f"<p>The first {MOST_ROWS_OF_DEFECTS} of {count}; loomsight roll export writes all.</p>"


def _pictures(roll: Roll) -> str:
    numbered = [(number, row) for number, row in enumerate(roll.defects, start=1) if row.picture]
    worst = sorted(numbered, key=lambda item: (-item[1].points, -item[1].defect.score))
    figures, missing = [], 0
    for number, row in worst[:MOST_PICTURES]:
        data = cut_picture(row)
        missing += data is None
        if data is not None:
            text = f"{number}: {row.defect.class_name}, {row.defect.start_m:.3f} m"
            image = base64.b64encode(data).decode()
            figures.append(
                f'<figure><img alt="{escape(text)}" src="data:image/jpeg;base64,{image}">'
                f"<figcaption>{escape(text)}</figcaption></figure>"
            )
    if not worst:
        return ""
    note = f"<p>Missing or unreadable pictures: {missing}.</p>" if missing else ""
    if len(worst) > MOST_PICTURES:
        note += f"<p>The worst {MOST_PICTURES} of {len(worst)}.</p>"
    return f"<h2>Pictures</h2>{note}<div class='pictures'>{''.join(figures)}</div>"


def cut_picture(row: DefectRow) -> bytes | None:
    """Cut a defect and what is around it out of its picture.

    Returns:
        A JPEG of at most 360 pixels a side; None if the picture is gone or unreadable.
    """
    if row.picture is None or row.box_xyxy_px is None:
        return None
    try:
        image = read_picture(Path(row.picture))
    except ImageError:
        return None
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (round(side) for side in row.box_xyxy_px)
    cut = image[
        max(0, y1 - AROUND_PX) : min(height, y2 + AROUND_PX),
        max(0, x1 - AROUND_PX) : min(width, x2 + AROUND_PX),
    ]
    if not cut.size:
        return None
    scale = min(1.0, LONGEST_PICTURE_PX / max(cut.shape[:2]))
    size_wh = (max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale)))
    ok, data = cv2.imencode(".jpg", np.asarray(cv2.resize(cut, size_wh, interpolation=cv2.INTER_AREA)))
    return data.tobytes() if ok else None


def _events(roll: Roll) -> str:
    rows = [(event.utc, event.kind, event.detail) for event in roll.events[:MOST_ROWS_OF_DEFECTS]]
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
