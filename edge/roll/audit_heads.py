"""Keep in a roll record how far the audit log was: so that a log whose end was cut off is found."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from edge.audit.entry import START, Head, head_of
from edge.core.errors import RecordError
from edge.core.events import utc_now
from edge.roll.database import DAMAGE_ERRORS, open_for_reading, unreadable
from edge.roll.reviews import has_table, opened_for_writing
from edge.roll.schema import AUDIT_HEADS

logger = logging.getLogger(__name__)

AuditHead = tuple[str, Head | None]
"""Name of the file of an audit log, and its newest entry; None if there is none."""

LAST: Final = "SELECT number, digest FROM audit_heads WHERE log = ? ORDER BY rowid DESC LIMIT 1"


def write_head(db: sqlite3.Connection, log: str, head: Head | None) -> None:
    """Write the newest entry of a log, in the transaction of the caller, if the record has another one.

    Args:
        db: of the record.
        log: name of the log's file.
        head: None if there is no entry.
    """
    if head is None:
        return
    last = db.execute(LAST, (log,)).fetchone()
    if last is None or tuple(last) != tuple(head):
        db.execute("INSERT INTO audit_heads VALUES (?, ?, ?, ?)", (log, *head, utc_now()))


def anchor(record: Path, log: str, head: Head | None) -> None:
    """Write the newest entry of a log beside the run that writes the record; that it fails is logged."""
    try:
        with closing(opened_for_writing(record)) as db:
            db.execute("BEGIN IMMEDIATE")
            if not has_table(db, "rolls"):  # a file that no run has prepared yet is no record
                return
            db.execute(AUDIT_HEADS)
            write_head(db, log, head)
            db.execute("COMMIT")
    except DAMAGE_ERRORS as error:
        logger.warning("the head of the audit log is not in the roll record %s: %s", record, error)


def heads_in(record: Path, log: str) -> list[Head]:
    """Return the heads that a record has of a log, the oldest first; damaged rows are left out.

    Raises:
        RecordError: if the record cannot be read.
    """
    try:
        with closing(open_for_reading(record)) as db:
            if not has_table(db, "audit_heads"):
                return []
            rows = db.execute("SELECT number, digest FROM audit_heads WHERE log = ? ORDER BY rowid", (log,))
            found = [head_of(f"{row[0]}:{row[1]}") for row in rows]
    except DAMAGE_ERRORS as error:
        raise unreadable(record, error) from error
    return [head for head in found if head is not None]


def newest_head(record: Path, log: str) -> Head:
    """Return the newest head that a record has of a log; `START` if there is none, or no record."""
    if not record.is_file():
        return START
    try:
        return max(heads_in(record, log), default=START)
    except RecordError as error:
        logger.debug("the record cannot tell how far the audit log was: %s", error)
        return START
