"""Export a roll for other programs: CSV or JSON lines, a row for each defect, gap and event."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any, Final

from edge.roll.contents import Roll

COLUMNS: Final = (
    "type", "event_id", "roll_id", "roll", "article", "utc", "what", "start_m", "end_m", "left_mm",
    "right_mm", "length_m", "points", "score", "image", "detail", "verdict", "box_xyxy_px", "shape",
    "named", "kind",
)  # fmt: skip

FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet would run text that begins so; an apostrophe in front of it keeps it text (OWASP, CSV
injection)."""


def rows_of(roll: Roll) -> Iterator[dict[str, Any]]:
    """Yield a row for each defect, then each gap, then each event; None where a column says nothing."""
    empty = dict.fromkeys(COLUMNS)
    own = {"roll_id": roll.head["roll_id"], "roll": roll.name, "article": roll.head["article"]}
    for row in roll.defects:
        defect = row.defect
        yield (
            empty
            | own
            | {
                "type": "defect",
                "event_id": row.event_id,
                "utc": row.utc,
                "what": defect.class_name,
                "start_m": defect.start_m,
                "end_m": defect.end_m,
                "left_mm": defect.left_mm,
                "right_mm": defect.right_mm,
                "length_m": defect.end_m - defect.start_m,
                "points": row.points,
                "score": defect.score,
                "image": row.image,
                "verdict": row.verdict,
                "shape": defect.shape,
                "kind": defect.kind,
                "named": row.named,
                "box_xyxy_px": None if row.box_xyxy_px is None else json.dumps(row.box_xyxy_px),
            }
        )
    for gap in roll.gaps:
        yield (
            empty
            | own
            | {
                "type": "gap",
                "event_id": gap.event_id,
                "utc": gap.utc,
                "what": gap.reason,
                "start_m": gap.start_m,
                "end_m": gap.end_m,
                "length_m": gap.lines * roll.m_per_line,
            }
        )
    for event in roll.events:
        yield (
            empty
            | own
            | {
                "type": "event",
                "event_id": event.event_id,
                "utc": event.utc,
                "what": event.kind,
                "start_m": event.at_m,
                "detail": event.detail,
            }
        )


def as_csv(roll: Roll) -> str:
    """Return a roll as CSV (RFC 4180), with a line of names; numbers rounded to a micrometre."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for row in rows_of(roll):
        writer.writerow([_cell(row[name]) for name in COLUMNS])
    return out.getvalue()


def as_json_lines(roll: Roll) -> str:
    """Return a roll as JSON lines: first the roll, then a line for each row, without empty values."""
    first = {"type": "roll", **roll.facts()}
    rest = ({name: value for name, value in row.items() if value is not None} for row in rows_of(roll))
    return "".join(json.dumps(line) + "\n" for line in (first, *rest))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
