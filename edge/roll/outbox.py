"""What is recorded and not yet sent: a table of the roll record, filled in the transaction of the record.

Triggers of the recorder's connection fill it, so nothing can be recorded and left out. A row names a defect
or an event; what is sent is read from the record when its turn comes.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

BUSY_MS = 2000
"""How long the sender waits while the recorder writes; a commit takes milliseconds."""

Origin = Literal["defect", "event"]

_ROWS = {
    "defect": """
        SELECT o.number, d.event_id, d.class_name, d.score, d.start_m, d.end_m, d.left_mm, d.right_mm,
            d.points, d.utc, r.roll_id, r.name AS roll, r.article
        FROM outbox o JOIN defects d USING (event_id) JOIN rolls r USING (roll_id)
        WHERE o.number > ?1 AND o.number <= ?2
    """,
    "event": """
        SELECT o.number, e.event_id, e.kind, e.detail, e.at_m, e.utc, x.data, r.roll_id, r.name AS roll,
            r.article
        FROM outbox o JOIN events e USING (event_id) LEFT JOIN event_data x USING (event_id)
            LEFT JOIN rolls r USING (roll_id)
        WHERE o.number > ?1 AND o.number <= ?2
    """,
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """A defect or event that waits to be sent.

    Attributes:
        number: orders all that ever waited.
        fields: columns of the record; `data` of an event is parsed.
    """

    number: int
    event_id: str
    origin: Origin
    fields: dict[str, Any]


class Outbox:
    """Keep what is to be sent until it is.

    Args:
        path: of the roll record.
        most_waiting: when so many wait, what is recorded further is not queued, only recorded.
    """

    def __init__(self, path: Path, most_waiting: int = 100_000) -> None:
        self.path = path
        self.most_waiting = most_waiting
        self.is_open = threading.Event()

    def collect_from(self, connection: sqlite3.Connection) -> None:
        """Queue whatever this connection records from now on."""
        for origin in _ROWS:
            connection.execute(
                f"CREATE TEMP TRIGGER outbox_of_{origin}s AFTER INSERT ON main.{origin}s "
                "WHEN coalesce((SELECT max(number) FROM outbox) - (SELECT min(number) FROM outbox) + 1, 0) "
                f"< {self.most_waiting} "  # two queries: each takes one step, both in one would count rows
                f"BEGIN INSERT INTO outbox (event_id, origin) VALUES (new.event_id, '{origin}'); END"
            )
        self.is_open.set()


class OutboxReader:
    """Read what waits, and take out what was sent; in the thread of the sender, on a connection of its own.

    Args:
        path: of a roll record that exists.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        # What is lost of this in a power cut is sent again, under the same id.
        self._db.execute("PRAGMA synchronous = NORMAL")

    def after(self, number: int, most: int) -> list[Waiting]:
        """Return what waits behind a number, in the order of the record."""
        db = self._db
        numbers = db.execute(
            "SELECT number FROM outbox WHERE number > ? ORDER BY number LIMIT ?", (number, most)
        ).fetchall()
        if not numbers:
            return []
        span = (number, numbers[-1]["number"])
        rows = [_waiting(row, "defect") for row in db.execute(_ROWS["defect"], span)]
        rows += [_waiting(row, "event") for row in db.execute(_ROWS["event"], span)]
        return sorted(rows, key=lambda row: row.number)

    def sent(self, numbers: Sequence[int]) -> None:
        """Take out what the receiver has acknowledged."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("DELETE FROM outbox WHERE number = ?", [(number,) for number in numbers])
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def depth(self) -> int:
        """Count what waits."""
        return int(self._db.execute("SELECT count(*) FROM outbox").fetchone()[0])

    def close(self) -> None:
        """Close the connection."""
        self._db.close()


def _waiting(row: sqlite3.Row, origin: Origin) -> Waiting:
    fields = {name: row[name] for name in row.keys() if name not in ("number", "event_id")}  # noqa: SIM118
    if fields.get("data"):
        fields["data"] = json.loads(fields["data"])
    return Waiting(row["number"], row["event_id"], origin, fields)
