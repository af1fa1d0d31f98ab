"""Write the technical appendix of a report: what the machine's keeper wants to know."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from edge.core.counted import counted
from edge.roll.document import Counts, RollDocument, Technical
from edge.roll.local_time import shown_time
from edge.roll.markup import facts, paragraph, section, table


def appendix(document: RollDocument, most_rows: int) -> str:
    """Write the appendix; it begins on a page of its own when it is printed.

    Args:
        document: all that it says.
        most_rows: of a table.
    """
    technical = document.technical
    parts = [
        _facts(document),
        _gaps(technical, most_rows),
        _records(technical, most_rows),
        _events(technical, most_rows),
        _settings(technical),
    ]
    return section("Technical appendix", *(part for part in parts if part), name="appendix")


def _facts(document: RollDocument) -> str:
    technical = document.technical
    values = {
        "Status": document.status,
        "Camera": technical.camera,
        "Roll id": technical.roll_id,
        "Model (sha256)": technical.model_digest,
        "Inspected by": f"loomsight {technical.inspected_by}",
        "Report made by": f"loomsight {technical.made_by}, {shown_time(document.made)}",
        "Frames": _counts(technical.frames),
        "Lines": _counts(technical.lines),
    }
    if technical.damaged_rows:
        values["Damaged rows"] = ", ".join(
            f"{count} of {name}" for name, count in technical.damaged_rows.items()
        )
    return facts(values, "head")


def _counts(counts: Counts) -> str:
    return f"{counts.inspected} of {counts.delivered} inspected, {counts.dropped} dropped"


def _gaps(technical: Technical, most: int) -> str:
    if not technical.gaps:
        return ""
    rows = [
        (
            "somewhere" if gap.start_m is None else f"{gap.start_m:.3f}",
            "" if gap.end_m is None else f"{gap.end_m:.3f}",
            gap.lines,
            gap.reason,
            shown_time(gap.time),
        )
        for gap in technical.gaps[:most]
    ]
    names = ("from m", "to m", "lines", "why", "time")
    return _part("Not inspected", table(names, rows, range(3)), len(technical.gaps), most)


def _records(technical: Technical, most: int) -> str:
    if not technical.defects:
        return ""
    shown = technical.defects[:most]
    columns: dict[str, list[object]] = {
        "no": [one.number for one in shown],
        "id": [one.event_id for one in shown],
        "verdict by": [one.verdict_by or "" for one in shown],
        "image": [one.image or "" for one in shown],
    }
    kept = {name: cells for name, cells in columns.items() if any(cells)}
    drawn = table(tuple(kept), list(zip(*kept.values(), strict=True)), (0,))
    return _part("Defects", drawn, len(technical.defects), most)


def _events(technical: Technical, most: int) -> str:
    if not technical.events:
        return ""
    rows = [(shown_time(one.time), one.kind, one.detail) for one in technical.events[:most]]
    return _part("Events", table(("time", "what", "more"), rows), len(technical.events), most)


def _settings(technical: Technical) -> str:
    rows = list(_flat(technical.settings))
    drawn = f'<div class="settings">{table(("setting", "value"), rows)}</div>'
    return _part("Settings", drawn, len(rows), len(rows)) if rows else ""


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield settings with dots between tables and keys; those that are not set are left out."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        elif value not in (None, [], ""):
            yield f"{before}{key}", value if isinstance(value, str) else json.dumps(value)


def _part(title: str, drawn: str, count: int, most: int) -> str:
    note = paragraph(f"The first {most} of {counted(count, 'row')}.") if count > most else ""
    return f"<section><h3>{title}</h3>{note}{drawn}</section>"
