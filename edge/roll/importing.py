"""Write the document of a roll into a record: as a roll of its own, or as the part behind another."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import NAMESPACE_OID, uuid5

from edge.core.errors import RecordError
from edge.core.events import RecordedEvent
from edge.roll.contents import Roll
from edge.roll.database import RecordFile, described, open_for_reading
from edge.roll.document import RollDocument
from edge.roll.imported_rows import (
    Place,
    insert_roll,
    insert_rows,
    lengthen_roll,
    m_per_line_of,
    status_of,
    utc_of,
)
from edge.roll.reading import read_roll, recorded_roll
from edge.roll.reviews import has_table, opened_for_writing
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
    if not record.exists() or not _has_tables(record):  # a kill may leave a file without
        RecordFile(record).close()
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


def _has_tables(record: Path) -> bool:
    with closing(open_for_reading(record)) as db:
        return has_table(db, "rolls")


def _import(db: sqlite3.Connection, read: RollMap, first: Roll | None) -> Imported:
    document = read.document
    part_id = document.technical.roll_id
    roll_id = part_id if first is None else first.head["roll_id"]
    if _has(db, part_id, roll_id):
        return Imported(_name_of(db, roll_id), False, len(document.defects), _grade_of(db, roll_id))
    if first is None:
        place = Place(roll_id, m_per_line_of(document))
        insert_roll(db, document, place)
    else:
        place = _place_behind(first, document)
        lengthen_roll(db, document, place)
    insert_rows(db, document, place)
    data = {"roll_id": part_id, "sha256": read.digest, "made_by": document.technical.made_by}
    detail = f"roll '{document.header.roll}' of {document.technical.camera}, {part_id}"
    at_m = None if first is None else place.shift_m
    event = RecordedEvent(ROLL_IMPORTED, detail, at_m, import_id(part_id, roll_id), data=data)
    insert_event(db, None if first is None else roll_id, event)  # a roll of its own stays as it was
    roll = _checked(db, document, roll_id, 0 if first is None else len(first.defects))
    ended = utc_of(document.ended) or utc_of(document.started) or utc_of(document.made)
    end_roll(db, roll_id, status_of(document), roll.settings, ended)
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


def _place_behind(first: Roll, document: RollDocument) -> Place:
    """Return where a document comes behind a roll.

    Raises:
        RecordError: if they do not go together.
    """
    name, own = first.name, m_per_line_of(document)
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
    return Place(first.head["roll_id"], first.m_per_line, first.length_m)


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


def _name_of(db: sqlite3.Connection, roll_id: str) -> str:
    return str(db.execute("SELECT name FROM rolls WHERE roll_id = ?", (roll_id,)).fetchone()["name"])


def _grade_of(db: sqlite3.Connection, roll_id: str) -> str | None:
    found = db.execute("SELECT grade FROM rolls WHERE roll_id = ?", (roll_id,)).fetchone()["grade"]
    return None if found is None else str(found)
