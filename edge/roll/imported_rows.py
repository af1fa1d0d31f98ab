"""Turn the parts of a roll's document into rows of a record."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from edge.core.events import RecordedEvent
from edge.roll.compose import TITLE
from edge.roll.document import Defect, DefectRecord, RollDocument
from edge.roll.headers import write_header
from edge.roll.writing import insert_event


@dataclass(frozen=True, slots=True)
class Place:
    """Say where in a record a document comes.

    Attributes:
        roll_id: of its roll.
        shift_m: length of what is in front of it.
        m_per_line: of the record's roll.
    """

    roll_id: str
    m_per_line: float
    shift_m: float = 0.0


def insert_roll(db: sqlite3.Connection, document: RollDocument, place: Place) -> None:
    """Write the row of a roll, its head and its view."""
    technical = document.technical
    started = utc_of(document.started) or ""
    reached = technical.reached_line
    values = {
        "roll_id": place.roll_id,
        "name": document.header.roll,
        "article": document.header.article,
        "status": status_of(document),
        "started_utc": started,
        "ended_utc": utc_of(document.ended),
        "last_utc": utc_of(document.ended) or started,
        "camera": technical.camera,
        "model_digest": technical.model_digest,
        "loomsight": technical.inspected_by,
        "settings": json.dumps(technical.settings),
        "mm_per_line": place.m_per_line * 1000 or None,
        "cloth_width_mm": technical.cloth_width_mm or document.inspection.width_mm,
        "reached_line": technical.lines.delivered if reached is None else reached,
        "passed_lines": technical.lines.delivered,
        "inspected_lines": technical.lines.inspected,
        "passed_frames": technical.frames.delivered,
        "inspected_frames": technical.frames.inspected,
    }
    if technical.mm_per_line is not None:
        values["mm_per_line"] = technical.mm_per_line
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    db.execute(f"INSERT INTO rolls ({names}) VALUES ({marks})", tuple(values.values()))
    write_header(db, place.roll_id, _header(document))
    if technical.view is not None:
        view = (place.roll_id, technical.view.left_mm, technical.view.right_mm)
        db.execute("INSERT INTO views VALUES (?, ?, ?)", view)


def _header(document: RollDocument) -> dict[str, Any]:
    own = {
        name: getattr(document.header, name)
        for name in ("mill", "customer", "operator", "machine", "shift")
    }
    title = document.header.title
    return own | ({"title": title} if title != TITLE else {})


def lengthen_roll(db: sqlite3.Connection, document: RollDocument, place: Place) -> None:
    """Count what a part has, in lines of the roll, to it."""
    technical, per_line = document.technical, m_per_line_of(document) / place.m_per_line
    delivered, inspected = (
        round(count * per_line) for count in (technical.lines.delivered, technical.lines.inspected)
    )
    reached = technical.lines.delivered if technical.reached_line is None else technical.reached_line
    db.execute(
        "UPDATE rolls SET reached_line = reached_line + ?, passed_lines = passed_lines + ?, "
        "inspected_lines = inspected_lines + ?, passed_frames = passed_frames + ?, "
        "inspected_frames = inspected_frames + ? WHERE roll_id = ?",
        (
            round(reached * per_line),
            delivered,
            min(inspected, delivered),
            technical.frames.delivered,
            technical.frames.inspected,
            place.roll_id,
        ),
    )


def insert_rows(db: sqlite3.Connection, document: RollDocument, place: Place) -> None:
    """Write defects, verdicts, gaps and events of a document."""
    technical = document.technical
    scale = m_per_line_of(document) / place.m_per_line if place.m_per_line else 1.0
    for defect, record in zip(document.defects, technical.defects, strict=True):
        _insert_defect(db, defect, record, place)
        _insert_review(db, document, defect, record, place)
    for gap in technical.gaps:
        start_m, end_m = _shifted(gap.start_m, place), _shifted(gap.end_m, place)
        line = None if start_m is None or not place.m_per_line else round(start_m / place.m_per_line)
        lines = round(gap.lines * scale)
        row = (gap.event_id, place.roll_id, line, lines, start_m, end_m, gap.reason, utc_of(gap.time) or "")
        db.execute("INSERT INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    for event in technical.events:
        at_m, utc = _shifted(event.at_m, place), utc_of(event.time) or ""
        kept = RecordedEvent(event.kind, event.detail, at_m, event.event_id, utc, event.data)
        insert_event(db, place.roll_id, kept)


def _insert_defect(db: sqlite3.Connection, defect: Defect, record: DefectRecord, place: Place) -> None:
    db.execute(
        "INSERT INTO defects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.event_id,
            place.roll_id,
            defect.class_name,
            defect.score,
            defect.start_m + place.shift_m,
            defect.end_m + place.shift_m,
            defect.left_mm,
            defect.right_mm,
            defect.points,
            record.image,
            json.dumps(list(record.box_xyxy_px)) if record.box_xyxy_px else None,
            utc_of(defect.time) or "",
        ),
    )
    if defect.shape is not None:
        db.execute("INSERT INTO shapes VALUES (?, ?)", (record.event_id, defect.shape))
    if defect.kind is not None:
        db.execute("INSERT INTO kinds VALUES (?, ?)", (record.event_id, defect.kind))


def _insert_review(
    db: sqlite3.Connection, document: RollDocument, defect: Defect, record: DefectRecord, place: Place
) -> None:
    if defect.verdict is None:
        return
    review_id = uuid5(NAMESPACE_OID, f"{record.event_id} {defect.verdict} {defect.named}").hex
    utc = utc_of(document.made) or ""
    row = (review_id, record.event_id, place.roll_id, defect.verdict, utc)
    db.execute("INSERT INTO reviews VALUES (?, ?, ?, ?, ?)", row)
    if defect.named is not None:
        db.execute("INSERT INTO namings VALUES (?, ?)", (review_id, defect.named))
    if record.verdict_by is not None:
        db.execute("INSERT INTO reviewers VALUES (?, ?)", (review_id, record.verdict_by))


def m_per_line_of(document: RollDocument) -> float:
    """Return the length of a line, m; 0 where the document knows no metres."""
    technical, length_m = document.technical, document.inspection.length_m
    if technical.mm_per_line is not None:
        return technical.mm_per_line / 1000
    lines = technical.lines.delivered
    return length_m / lines if length_m and lines else 0.0


def status_of(document: RollDocument) -> Any:
    """Return how a roll ended; one that ran when its document was made has ended with it."""
    return "interrupted" if document.status == "running" else document.status


def _shifted(value_m: float | None, place: Place) -> float | None:
    return None if value_m is None else value_m + place.shift_m


def utc_of(moment: datetime | None) -> str | None:
    """Return a time as records carry it."""
    return None if moment is None else moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")
