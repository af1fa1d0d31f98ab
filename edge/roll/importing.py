"""Write the document of a roll into a record: as a roll of its own, or as the part behind another."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_OID, uuid5

from edge.core.errors import RecordError
from edge.core.events import RecordedEvent
from edge.roll.compose import TITLE
from edge.roll.contents import Roll
from edge.roll.database import RecordFile, described, open_for_reading
from edge.roll.document import Defect, DefectRecord, RollDocument
from edge.roll.headers import write_header
from edge.roll.reading import read_roll, recorded_roll
from edge.roll.reviews import opened_for_writing
from edge.roll.roll_map import RollMap
from edge.roll.rows import DamagedRowError
from edge.roll.schema import LATER_TABLES
from edge.roll.values import ROLL_IMPORTED
from edge.roll.writing import end_roll, insert_event

CURE: Final = "Correct the file, or export it again."


@dataclass(frozen=True, slots=True)
class Imported:
    """Say what became of a document.

    Attributes:
        name: of the roll in the record.
        is_new: False if the record had it already; nothing is changed then.
        defects: that were in the document.
        grade: of the roll as the record has it now; None if it is not known.
    """

    name: str
    is_new: bool
    defects: int
    grade: str | None


@dataclass(frozen=True, slots=True)
class _Place:
    """Say where in a record a document comes.

    Attributes:
        roll_id: of its roll.
        shift_m: length of what is in front of it.
        m_per_line: of the record's roll.
    """

    roll_id: str
    m_per_line: float
    shift_m: float = 0.0


def import_roll(record: Path, read: RollMap, behind: str | None = None) -> Imported:
    """Write a document into a record, all of it or nothing. A document that is there already is left alone.

    Args:
        record: made if it is not there; an edge-run may be writing it.
        read: the document.
        behind: name, or start of the id, of the roll that it is the next part of; None for one of its own.
    Raises:
        RecordError: if there is no such roll, the parts do not go together, the document contradicts
            itself, or the record is in use for long.
        OutputError: if the record cannot be written.
    """
    if not record.exists():
        RecordFile(record).close()
    open_for_reading(record).close()
    first = None if behind is None else read_roll(record, behind)
    try:
        with closing(opened_for_writing(record)) as db:
            db.row_factory = sqlite3.Row
            db.execute("BEGIN IMMEDIATE")
            for statement in LATER_TABLES:
                db.execute(statement)
            imported = _import(db, read, first)
            db.execute("COMMIT")
            return imported
    except (sqlite3.IntegrityError, OverflowError) as error:
        raise RecordError(f"{record} cannot take the document: {error}.", CURE) from error
    except sqlite3.Error as error:
        raise described(record, error) from error


def _import(db: sqlite3.Connection, read: RollMap, first: Roll | None) -> Imported:
    document = read.document
    part_id = document.technical.roll_id
    roll_id = part_id if first is None else first.head["roll_id"]
    if _has(db, part_id, roll_id):
        return Imported(_name_of(db, roll_id), False, len(document.defects), _grade_of(db, roll_id))
    if first is None:
        place = _Place(roll_id, _m_per_line(document))
        _insert_roll(db, document, place)
    else:
        place = _place_behind(first, document)
        _lengthen_roll(db, document, place)
    _insert_rows(db, document, place)
    data = {"roll_id": part_id, "sha256": read.digest, "made_by": document.technical.made_by}
    detail = f"roll '{document.header.roll}' of {document.technical.camera}, {part_id}"
    at_m = None if first is None else place.shift_m
    event = RecordedEvent(ROLL_IMPORTED, detail, at_m, import_id(part_id, roll_id), data=data)
    insert_event(db, None if first is None else roll_id, event)  # a roll of its own stays as it was
    roll = _checked(db, document, roll_id, 0 if first is None else len(first.defects))
    ended = _utc(document.ended) or _utc(document.started) or _utc(document.made)
    end_roll(db, roll_id, _status(document), roll.settings, ended)
    return Imported(roll.name, True, len(document.defects), _grade_of(db, roll_id))


def import_id(part_id: str, roll_id: str) -> str:
    """Return the id of the event of an import.

    Args:
        part_id: of the roll in the document.
        roll_id: of the roll in the record that it is, or became a part of.
    """
    return uuid5(NAMESPACE_OID, f"{part_id} in {roll_id}").hex


def _has(db: sqlite3.Connection, part_id: str, roll_id: str) -> bool:
    """Tell whether a record has a roll, or has imported it as a part of another."""
    if part_id == roll_id:
        return db.execute("SELECT 1 FROM rolls WHERE roll_id = ?", (part_id,)).fetchone() is not None
    event_id = import_id(part_id, roll_id)
    return db.execute("SELECT 1 FROM events WHERE event_id = ?", (event_id,)).fetchone() is not None


def _insert_roll(db: sqlite3.Connection, document: RollDocument, place: _Place) -> None:
    technical = document.technical
    started = _utc(document.started) or ""
    reached = technical.reached_line
    values = {
        "roll_id": place.roll_id,
        "name": document.header.roll,
        "article": document.header.article,
        "status": _status(document),
        "started_utc": started,
        "ended_utc": _utc(document.ended),
        "last_utc": _utc(document.ended) or started,
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


def _place_behind(first: Roll, document: RollDocument) -> _Place:
    """Return where a document comes behind a roll.

    Raises:
        RecordError: if they do not go together.
    """
    name, own = first.name, _m_per_line(document)
    if first.head["status"] == "running":
        raise RecordError(f"Roll '{name}' is still running.", "Import the next part when it has ended.")
    if document.header.article != first.head["article"]:
        raise RecordError(
            f"Roll '{name}' is of article '{first.head['article']}', the document of "
            f"'{document.header.article}'.",
            "Name the roll that it is the next part of.",
        )
    if not first.m_per_line or not own:
        raise RecordError(
            f"The length of roll '{name}', or of the document, is not known.",
            "Import it as a roll of its own.",
        )
    return _Place(first.head["roll_id"], first.m_per_line, first.length_m)


def _lengthen_roll(db: sqlite3.Connection, document: RollDocument, place: _Place) -> None:
    """Count what a part has, in lines of the roll, to it."""
    technical, per_line = document.technical, _m_per_line(document) / place.m_per_line
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


def _insert_rows(db: sqlite3.Connection, document: RollDocument, place: _Place) -> None:
    technical = document.technical
    scale = _m_per_line(document) / place.m_per_line if place.m_per_line else 1.0
    for defect, record in zip(document.defects, technical.defects, strict=True):
        _insert_defect(db, defect, record, place)
        _insert_review(db, document, defect, record, place)
    for gap in technical.gaps:
        start_m, end_m = _shifted(gap.start_m, place), _shifted(gap.end_m, place)
        line = None if start_m is None or not place.m_per_line else round(start_m / place.m_per_line)
        lines = round(gap.lines * scale)
        row = (gap.event_id, place.roll_id, line, lines, start_m, end_m, gap.reason, _utc(gap.time) or "")
        db.execute("INSERT INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    for event in technical.events:
        at_m, utc = _shifted(event.at_m, place), _utc(event.time) or ""
        kept = RecordedEvent(event.kind, event.detail, at_m, event.event_id, utc, event.data)
        insert_event(db, place.roll_id, kept)


def _insert_defect(db: sqlite3.Connection, defect: Defect, record: DefectRecord, place: _Place) -> None:
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
            _utc(defect.time) or "",
        ),
    )
    if defect.shape is not None:
        db.execute("INSERT INTO shapes VALUES (?, ?)", (record.event_id, defect.shape))
    if defect.kind is not None:
        db.execute("INSERT INTO kinds VALUES (?, ?)", (record.event_id, defect.kind))


def _insert_review(
    db: sqlite3.Connection, document: RollDocument, defect: Defect, record: DefectRecord, place: _Place
) -> None:
    if defect.verdict is None:
        return
    review_id = uuid5(NAMESPACE_OID, f"{record.event_id} {defect.verdict} {defect.named}").hex
    utc = _utc(document.made) or ""
    row = (review_id, record.event_id, place.roll_id, defect.verdict, utc)
    db.execute("INSERT INTO reviews VALUES (?, ?, ?, ?, ?)", row)
    if defect.named is not None:
        db.execute("INSERT INTO namings VALUES (?, ?)", (review_id, defect.named))


def _checked(db: sqlite3.Connection, document: RollDocument, roll_id: str, before: int) -> Roll:
    """Read back what was written.

    Raises:
        RecordError: if a reader of the record would set something of it aside.
    """
    try:
        roll = recorded_roll(db, roll_id)
    except DamagedRowError as error:
        raise RecordError(f"The document contradicts itself: {error}.", CURE) from error
    if roll.damaged or len(roll.defects) != before + len(document.defects):
        rows = ", ".join(f"{count} of {table}" for table, count in roll.damaged.items())
        raise RecordError(f"The document contradicts itself; rows that no roll can have: {rows}.", CURE)
    return roll


def _m_per_line(document: RollDocument) -> float:
    """Return the length of a line, m; 0 where the document knows no metres."""
    technical, length_m = document.technical, document.inspection.length_m
    if technical.mm_per_line is not None:
        return technical.mm_per_line / 1000
    lines = technical.lines.delivered
    return length_m / lines if length_m and lines else 0.0


def _status(document: RollDocument) -> Any:
    """Return how a roll ended; one that ran when its document was made has ended with it."""
    return "interrupted" if document.status == "running" else document.status


def _shifted(value_m: float | None, place: _Place) -> float | None:
    return None if value_m is None else value_m + place.shift_m


def _utc(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")


def _name_of(db: sqlite3.Connection, roll_id: str) -> str:
    return str(db.execute("SELECT name FROM rolls WHERE roll_id = ?", (roll_id,)).fetchone()["name"])


def _grade_of(db: sqlite3.Connection, roll_id: str) -> str | None:
    found = db.execute("SELECT grade FROM rolls WHERE roll_id = ?", (roll_id,)).fetchone()["grade"]
    return None if found is None else str(found)
