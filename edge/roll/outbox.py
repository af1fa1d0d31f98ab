"""Queue what is recorded and not yet sent: a table of the record, filled in its transaction.

Triggers of the recorder's connection fill it, so nothing can be recorded and left out. A row names a defect
or an event; what is sent is read from the record when its turn comes.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from edge.roll.database import roll_back

BUSY_MS = 2000
"""How long the sender waits while the recorder writes; a commit takes milliseconds."""

Origin = Literal["defect", "event"]
FileIdentity = tuple[int, int]
"""Device and number of a file."""

_ROWS = {
    "defect": """
        SELECT o.number, d.event_id, d.class_name, d.score, d.start_m, d.end_m, d.left_mm, d.right_mm,
            d.points, d.utc, s.shape, k.kind, r.roll_id, r.name AS roll, r.article
        FROM outbox o JOIN defects d USING (event_id) JOIN rolls r USING (roll_id)
            LEFT JOIN shapes s USING (event_id) LEFT JOIN kinds k USING (event_id)
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
class WaitingMessage:
    """Hold a defect or event that waits to be sent.

    Attributes:
        number: orders all that ever waited.
        fields: columns of the record; `data` of an event is parsed.
        fault: why it can never be sent; None if it can.
    """

    number: int
    event_id: str
    origin: Origin
    fields: dict[str, Any]
    fault: str | None = None


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
                # The first two queries take a step each. Only if old messages wait behind newer ones, or it
                # is full, are the rows counted.
                "WHEN coalesce((SELECT max(number) FROM outbox) - (SELECT min(number) FROM outbox) + 1, 0) "
                f"< {self.most_waiting} OR (SELECT count(*) FROM outbox) < {self.most_waiting} "
                f"BEGIN INSERT INTO outbox (event_id, origin) VALUES (new.event_id, '{origin}'); END"
            )
        self.is_open.set()


class OutboxReader:
    """Read what waits, and take out what was sent; in the thread of the sender, on a connection of its own.

    Args:
        path: of a roll record that exists.
    Attributes:
        file: tells the file from one that takes its name later; None if there was none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.file = _identity(path)
        self._db = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode=rw", uri=True, isolation_level=None
        )
        self._db.row_factory = sqlite3.Row
        self._db.text_factory = _text
        self._db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        # What is lost of this in a power cut is sent again, under the same id.
        self._db.execute("PRAGMA synchronous = NORMAL")

    @property
    def is_of_this_file(self) -> bool:
        """Whether the path still names the file that is read: a record may be moved, or set aside."""
        return _identity(self._path) == self.file

    def after(self, number: int, most: int) -> list[WaitingMessage]:
        """Return what waits behind a number, in the order of the record; also what can never be sent."""
        db = self._db
        rows = db.execute(
            "SELECT number, event_id, origin FROM outbox WHERE number > ? ORDER BY number LIMIT ?",
            (number, most),
        ).fetchall()
        if not rows:
            return []
        span = (number, rows[-1]["number"])
        found = {row["number"]: _waiting(row, "defect") for row in db.execute(_ROWS["defect"], span)}
        found |= {row["number"]: _waiting(row, "event") for row in db.execute(_ROWS["event"], span)}
        return [found.get(row["number"]) or _orphan(row) for row in rows]

    def set_aside(self, faults: Sequence[WaitingMessage]) -> int:
        """Move what can never be sent to a table of its own, where a person finds it; returns how many."""
        values = [(one.number, str(one.event_id), str(one.origin), one.fault) for one in faults]
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO outbox_set_aside VALUES (?, ?, ?, ?)", values)
            self._db.executemany("DELETE FROM outbox WHERE number = ?", [row[:1] for row in values])
        return len(values)

    def sent(self, numbers: Collection[int]) -> int:
        """Take out what the receiver has acknowledged; returns how many numbers that were."""
        with self._transaction():
            self._db.executemany("DELETE FROM outbox WHERE number = ?", [(number,) for number in numbers])
        return len(numbers)

    def depth(self) -> int:
        """Count what waits."""
        return int(self._db.execute("SELECT count(*) FROM outbox").fetchone()[0])

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        roll_back(self._db)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                roll_back(self._db)
            raise


def _waiting(row: sqlite3.Row, origin: Origin) -> WaitingMessage:
    fields = {name: row[name] for name in row.keys() if name not in ("number", "event_id")}  # noqa: SIM118
    fault = None
    if fields.get("data"):
        try:
            fields["data"] = json.loads(fields["data"])
        except (ValueError, TypeError, RecursionError) as error:
            fault = f"its data is no JSON: {error}"
    return WaitingMessage(row["number"], row["event_id"], origin, fields, fault)


def _orphan(row: sqlite3.Row) -> WaitingMessage:
    """Return a row of the outbox that names nothing in the record."""
    return WaitingMessage(
        row["number"], row["event_id"], row["origin"], {}, "it names nothing that is in the record"
    )


def _text(stored: bytes) -> str:
    """Read text of a damaged record, too: one byte of it must not keep all other rows back."""
    return stored.decode("utf-8", "replace")


def _identity(path: Path) -> FileIdentity | None:
    """Return what tells a file from one that took its name; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
