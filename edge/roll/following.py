"""Choose the roll that a run continues: the one it is named, or the one that followed on it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from edge.core.errors import RecordError
from edge.roll.database import DAMAGE_ERRORS, open_for_reading
from edge.roll.rows import data_of
from edge.roll.values import ROLL_ENDED


class Following(NamedTuple):
    """Name a roll and its article."""

    name: str
    article: str | None


def last_following(record: Path | None, name: str | None) -> Following | None:
    """Return the last of the rolls that followed on a roll of this name, by changes of roll.

    A service is started again with the settings that name its first roll, while another one is on the loom.

    Returns:
        None if none followed; a record that cannot be read is told of when it is opened for writing.
    """
    if record is None or name is None or not record.is_file():
        return None
    try:
        with closing(open_for_reading(record)) as db:
            return _last_following(db, name)
    except (RecordError, *DAMAGE_ERRORS):
        return None


def _last_following(db: sqlite3.Connection, name: str) -> Following | None:
    first = db.execute("SELECT * FROM rolls WHERE name = ? ORDER BY rowid DESC LIMIT 1", (name,)).fetchone()
    roll, known = first, set()
    while roll is not None and (after := _next_of(db, roll["roll_id"])) is not None:
        known.add(roll["roll_id"])
        if after["roll_id"] in known:  # a damaged record leads in a circle
            break
        roll = after
    if roll is None or roll["roll_id"] == first["roll_id"]:
        return None
    return Following(roll["name"], roll["article"])


def _next_of(db: sqlite3.Connection, roll_id: str) -> sqlite3.Row | None:
    query = (
        "SELECT data FROM events JOIN event_data USING (event_id) WHERE roll_id = ? AND kind = ? "
        "ORDER BY events.rowid DESC LIMIT 1"
    )
    ended = db.execute(query, (roll_id, ROLL_ENDED)).fetchone()
    data = None if ended is None else data_of(ended["data"])
    after = data.get("next") if data else None
    if not isinstance(after, str):
        return None
    row: sqlite3.Row | None = db.execute("SELECT * FROM rolls WHERE roll_id = ?", (after,)).fetchone()
    return row
