"""What a person says of a recorded defect, confirmed or rejected: nothing is overwritten, all is undone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from edge.roll.database import BUSY_MS, described
from edge.roll.values import new_id, utc_now

Verdict = Literal["confirmed", "rejected", "undone"]


def record_verdict(path: Path, event_id: str, verdict: Verdict) -> bool:
    """Write a verdict beside the run that writes the record; it is on the disk when this returns.

    The table `reviews` keeps every verdict; the last one of a defect holds. The one that holds already is
    not written again.

    Args:
        path: of the record.
        event_id: of the defect.
        verdict: `undone` takes the last one back.
    Returns:
        False if there is no such defect.
    Raises:
        RecordError: if the record is in use by another program for long.
        OutputError: if it cannot be written.
    """
    try:
        with closing(_opened(path)) as db:
            db.execute("BEGIN IMMEDIATE")
            defect = db.execute("SELECT roll_id FROM defects WHERE event_id = ?", (event_id,)).fetchone()
            if defect is None:
                return False
            if _standing(db, event_id) != verdict:
                row = (new_id(), event_id, defect[0], verdict, utc_now())
                db.execute("INSERT INTO reviews VALUES (?, ?, ?, ?, ?)", row)
            db.execute("COMMIT")
            return True
    except sqlite3.Error as error:
        raise described(path, error) from error


def verdicts_of(db: sqlite3.Connection, roll_id: str) -> dict[str, str]:
    """Return event id -> verdict for the defects of a roll that have one."""
    if not has_reviews(db):
        return {}
    rows = db.execute("SELECT event_id, verdict FROM reviews WHERE roll_id = ? ORDER BY rowid", (roll_id,))
    last = {row["event_id"]: row["verdict"] for row in rows}
    return {event_id: said for event_id, said in last.items() if said in ("confirmed", "rejected")}


def has_reviews(db: sqlite3.Connection) -> bool:
    """Tell whether a record has the table; those of older programs have none."""
    return has_table(db, "reviews")


def has_table(db: sqlite3.Connection, name: str) -> bool:
    """Tell whether a record has a table; those of older programs lack some."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return db.execute(query, (name,)).fetchone() is not None


def _standing(db: sqlite3.Connection, event_id: str) -> str:
    query = "SELECT verdict FROM reviews WHERE event_id = ? ORDER BY rowid DESC LIMIT 1"
    row = db.execute(query, (event_id,)).fetchone()
    return str(row[0]) if row else "undone"


def _opened(path: Path) -> sqlite3.Connection:
    """Open a record that is there for writing, synced with every commit."""
    connection = sqlite3.connect(
        f"file:{quote(str(path.resolve()))}?mode=rw", uri=True, isolation_level=None
    )
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection
