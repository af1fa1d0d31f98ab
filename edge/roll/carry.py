"""Carry the rolls of a running program over into a new record when its file was removed.

A file that was deleted or renamed can still be read through the connection that has it open: nothing that
was recorded of the roll is lost.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from edge.roll.database import DAMAGE_ERRORS, RecordFile, described, is_for_a_while

logger = logging.getLogger(__name__)

OF_OUTBOX: Final = (
    "event_id IN (SELECT event_id FROM events WHERE roll_id = ?1 "
    "UNION ALL SELECT event_id FROM defects WHERE roll_id = ?1 "
    "UNION ALL SELECT event_id FROM gap_messages WHERE roll_id = ?1 "
    "UNION ALL SELECT review_id FROM reviews WHERE roll_id = ?1 UNION ALL SELECT ?1)"
)

OF_A_ROLL: Final = (
    ("rolls", "roll_id = ?"),
    ("defects", "roll_id = ?"),
    ("gaps", "roll_id = ?"),
    ("events", "roll_id = ?"),
    ("views", "roll_id = ?"),
    ("headers", "roll_id = ?"),
    ("reviews", "roll_id = ?"),
    ("namings", "review_id IN (SELECT review_id FROM reviews WHERE roll_id = ?)"),
    ("reviewers", "review_id IN (SELECT review_id FROM reviews WHERE roll_id = ?)"),
    ("shapes", "event_id IN (SELECT event_id FROM defects WHERE roll_id = ?)"),
    ("small_images", "event_id IN (SELECT event_id FROM defects WHERE roll_id = ?)"),
    ("kinds", "event_id IN (SELECT event_id FROM defects WHERE roll_id = ?)"),
    ("event_data", "event_id IN (SELECT event_id FROM events WHERE roll_id = ?)"),
    ("roll_revisions", "roll_id = ?"),
    ("gap_messages", "roll_id = ?"),
    ("open_gaps", "roll_id = ?"),
    ("outbox", OF_OUTBOX),
    ("outbox_sent", OF_OUTBOX),
)
"""Tables, each behind those that it refers to, and which of their rows belong to a roll."""


def carry_over(old: sqlite3.Connection, new: sqlite3.Connection, roll_ids: Iterable[str]) -> None:
    """Copy rolls with all that is recorded of them, in one transaction.

    Args:
        old: the record that is gone; it is only read.
        new: an empty record.
        roll_ids: rolls that go on; those of what waits to be sent come with them.
    Raises:
        sqlite3.Error: if the old one cannot be read, or the new one not written; that is then empty.
    """
    wanted = sorted({*roll_ids, *_with_waiting(old)})
    new.execute("BEGIN IMMEDIATE")
    try:
        for table, of_roll in OF_A_ROLL:
            for roll_id in wanted:
                _copy(old, new, table, of_roll, roll_id)
        _count_on(old, new)
        new.execute("COMMIT")
    except BaseException:
        if new.in_transaction:
            new.execute("ROLLBACK")
        raise


def _with_waiting(db: sqlite3.Connection) -> set[str]:
    """Return the rolls of what waits to be sent."""
    waits = "SELECT event_id FROM outbox UNION ALL SELECT event_id FROM outbox_sent"
    rows = db.execute(
        f"WITH waits AS ({waits}) SELECT roll_id FROM defects JOIN waits USING (event_id) "
        "UNION SELECT roll_id FROM events JOIN waits USING (event_id) WHERE roll_id IS NOT NULL "
        "UNION SELECT roll_id FROM gap_messages JOIN waits USING (event_id) "
        "UNION SELECT roll_id FROM reviews JOIN waits ON review_id = waits.event_id "
        "UNION SELECT roll_id FROM rolls JOIN waits ON roll_id = waits.event_id"
    )
    return {row[0] for row in rows}


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, table: str, which: str, roll_id: str) -> None:
    rows = old.execute(f"SELECT * FROM {table} WHERE {which}", (roll_id,))
    places = ", ".join("?" * len(rows.description))
    new.executemany(f"INSERT INTO {table} VALUES ({places})", map(tuple, rows))


def _count_on(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Let numbers of the outbox go on behind the last one ever given: receivers know them."""
    last = old.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
    if last is not None:
        new.execute("DELETE FROM sqlite_sequence WHERE name = 'outbox'")
        new.execute("INSERT INTO sqlite_sequence VALUES ('outbox', ?)", (last[0],))


def succeed(file: RecordFile, roll_ids: Iterable[str]) -> tuple[RecordFile, bool]:
    """Begin a new record in the place of one that is no longer there, or is damaged.

    Args:
        file: what was written so far; it is closed, unless the new one cannot be made.
        roll_ids: rolls that go on.
    Returns:
        The new record, and whether it has what was recorded of the rolls.
    Raises:
        LoomsightError: if no new one can be made now, or the disk has no room for the rolls.
    """
    file.unlock()
    new = RecordFile(file.path, again=True)
    try:
        carry_over(file.connection, new.connection, roll_ids)
        is_carried = True
    except DAMAGE_ERRORS as error:
        if is_for_a_while(error):  # the old one is closed only once its rolls are somewhere else
            new.take_back()
            raise described(file.path, error) from error
        logger.error("what was recorded before cannot be read any more: %s", error)
        is_carried = False
    file.leave()
    _clear(new.set_aside)
    return new, is_carried


def _clear(set_aside: Path | None) -> None:
    """Remove the log that a renamed record left in its place, once all of it is in that record."""
    if set_aside is None or set_aside.exists():
        return
    log = Path(f"{set_aside}-wal")
    if not log.exists() or not log.stat().st_size:
        for side in ("-wal", "-shm"):
            Path(f"{set_aside}{side}").unlink(missing_ok=True)
