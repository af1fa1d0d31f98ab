"""Queue what is recorded and not yet sent: a table of the record, filled in its transaction.

Triggers of the recorder's connection fill it, so nothing can be recorded and left out. A row names a
defect, an event, a roll, a gap or a verdict; what is sent is read from the record when its turn comes.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edge.roll.database import roll_back
from edge.roll.outbox_queries import HAS_ROOM, JSON_COLUMNS, ROWS, Origin, triggers

BUSY_MS = 2000
"""How long the sender waits while the recorder writes; a commit takes milliseconds."""

FileIdentity = tuple[int, int]
"""Device and number of a file."""


@dataclass(frozen=True, slots=True)
class WaitingMessage:
    """Hold what waits to be sent.

    Attributes:
        number: orders all that ever waited.
        fields: columns of the record; JSON among them is parsed.
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
        """Queue whatever this connection records from now on, and verdicts of other programs."""
        for statement in triggers(self.most_waiting):
            connection.execute(statement)
        connection.execute("INSERT OR REPLACE INTO outbox_open VALUES (1, ?)", (self.most_waiting,))
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
        found = {
            row["number"]: _waiting(row, origin)
            for origin in {row["origin"] for row in rows} & ROWS.keys()
            for row in db.execute(ROWS[origin], span)
        }
        return [found.get(row["number"]) or _orphan(row) for row in rows]

    def set_aside(self, faults: Sequence[WaitingMessage]) -> int:
        """Move what can never be sent to a table of its own, where a person finds it; returns how many."""
        values = [(one.number, str(one.event_id), str(one.origin), one.fault) for one in faults]
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO outbox_set_aside VALUES (?, ?, ?, ?)", values)
            self._db.executemany("DELETE FROM outbox WHERE number = ?", [row[:1] for row in values])
        return len(values)

    def sent(self, numbers: Collection[int], *, awaits_receipt: bool = False) -> int:
        """Take out what the broker has acknowledged; returns how many numbers that were.

        Args:
            numbers: of the outbox.
            awaits_receipt: keep their names until the office has stored them, see `stored`.
        """
        each = [(number,) for number in numbers]
        with self._transaction():
            if awaits_receipt:
                self._db.executemany(
                    "INSERT OR REPLACE INTO outbox_sent SELECT event_id, number, origin FROM outbox "
                    "WHERE number = ?",
                    each,
                )
            self._db.executemany("DELETE FROM outbox WHERE number = ?", each)
        return len(numbers)

    def stored(self, receipts: Collection[tuple[int, str]]) -> int:
        """Take in what the office has stored, and queue again what it should have had before and has not.

        Receivers get messages in the order of their numbers, so a receipt of a later one says that an
        earlier one without is lost; that it is sent twice does no harm.

        Args:
            receipts: number and id of what was sent.
        Returns:
            How many messages are queued again.
        """
        last = 0
        with self._transaction():
            for number, event_id in receipts:
                for table in ("outbox", "outbox_sent"):
                    query = f"DELETE FROM {table} WHERE number = ? AND event_id = ?"
                    if self._db.execute(query, (number, event_id)).rowcount:
                        last = max(last, number)
            return self._again("number < ?", last)

    def probe(self) -> int:
        """Queue again the oldest message without a receipt: its own tells what became of all others."""
        with self._transaction():
            return self._again("number = (SELECT min(number) FROM outbox_sent) AND ? = 0", 0)

    def forget_receipts(self, most: int) -> int:
        """Keep the names of so many messages without a receipt; returns how many are given up."""
        with self._transaction():
            return self._db.execute(
                "DELETE FROM outbox_sent WHERE number <= "
                "(SELECT number FROM outbox_sent ORDER BY number DESC LIMIT 1 OFFSET ?)",
                (most,),
            ).rowcount

    def awaiting_receipts(self) -> int:
        """Count what the broker has, and the office has not said to have stored."""
        return int(self._db.execute("SELECT count(*) FROM outbox_sent").fetchone()[0])

    def _again(self, which: str, value: int) -> int:
        done = self._db.execute(
            "INSERT OR IGNORE INTO outbox (event_id, origin) "
            f"SELECT event_id, origin FROM outbox_sent WHERE {which} ORDER BY number",
            (value,),
        )
        self._db.execute(f"DELETE FROM outbox_sent WHERE {which}", (value,))
        return done.rowcount

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
    for name in JSON_COLUMNS:
        if fields.get(name):
            try:
                fields[name] = json.loads(fields[name])
            except (ValueError, TypeError, RecursionError) as error:
                fault = f"its {name} is no JSON: {error}"
    return WaitingMessage(row["number"], row["event_id"], origin, fields, fault)


def queue_verdict(db: sqlite3.Connection, review_id: str) -> None:
    """Queue a verdict in the transaction that records it, if the last run with this record had a broker."""
    room = HAS_ROOM.format(most="(SELECT most_waiting FROM outbox_open)")
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'outbox_open'").fetchone() is not None:
        db.execute(
            "INSERT OR IGNORE INTO outbox (event_id, origin) "
            f"SELECT ?, 'verdict' WHERE EXISTS (SELECT 1 FROM outbox_open) AND {room}",
            (review_id,),
        )


def queue_nothing(db: sqlite3.Connection) -> None:
    """Let verdicts on a record wait for no broker: its runs have none."""
    db.execute("DELETE FROM outbox_open")


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
