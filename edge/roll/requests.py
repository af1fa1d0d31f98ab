"""Ask a running edge-run for the next roll: a row in its record, which it reads once a second."""

from __future__ import annotations

import fcntl
import json
import logging
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edge.audit.who import command_line
from edge.core.errors import ConfigError, RecordError
from edge.core.events import new_id, utc_now
from edge.roll.database import BUSY_MS, described, open_for_reading

logger = logging.getLogger(__name__)

LOOK_S = 0.1
MOST_AT_ONCE = 100
"""Requests that are read in one look."""

PATIENCE_S = 20.0
"""The command waits so long. A change happens within a second of the request, but for the last lines of
the old roll, which are inspected first, and a model that is opened."""


@dataclass(frozen=True, slots=True)
class Request:
    """Hold a request of a record; see `edge.pipeline.changes.RollRequest`."""

    request_id: str
    name: str | None
    article: str | None
    who: str | None = None


def unanswered(db: sqlite3.Connection) -> tuple[list[Request], list[int]]:
    """Return the requests of a record that wait, the oldest first, and the rows that are none.

    Any program may write here, so each row is read by itself.
    """
    asked, nonsense = [], []
    rows = db.execute("SELECT rowid, request_id, wish FROM requests WHERE answer IS NULL ORDER BY rowid")
    for number, request_id, request in rows.fetchmany(MOST_AT_ONCE):
        try:
            asked.append(_request(request_id, request))
        except (ValueError, RecursionError) as error:
            logger.warning("a row of the table requests is no request, and is dropped: %s", error)
            nonsense.append(int(number))
    return asked, nonsense


def _request(request_id: object, request: object) -> Request:
    """Read a row.

    Raises:
        ValueError: if it is not of the form that `ask_next_roll` writes.
    """
    if not isinstance(request_id, str) or not isinstance(request, str):
        raise ValueError("it holds no text")
    fields = json.loads(request)
    if not isinstance(fields, dict) or not fields.keys() <= {"name", "article", "who"}:
        raise ValueError("it names neither a roll nor an article")
    if not all(text is None or isinstance(text, str) for text in fields.values()):
        raise ValueError("a name is no text")
    return Request(request_id, fields.get("name"), fields.get("article"), fields.get("who"))


def drop(db: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Delete rows that are no requests, in the transaction of the caller."""
    db.executemany("DELETE FROM requests WHERE rowid = ? AND answer IS NULL", [(one,) for one in numbers])


def write_answer(db: sqlite3.Connection, request_id: str, answer: dict[str, Any]) -> None:
    """Answer a request, in the transaction of the caller; one that was taken back has no answer."""
    db.execute("UPDATE requests SET answer = ? WHERE request_id = ?", (json.dumps(answer), request_id))


def ask_next_roll(
    path: Path, name: str | None, article: str | None, patience_s: float = PATIENCE_S
) -> dict[str, Any]:
    """Ask the edge-run that writes a record for the next roll, and wait until it has started.

    Returns:
        `name` and `roll_id` of the new roll.
    Raises:
        RecordError: if no edge-run writes the record, or it does not answer.
        ConfigError: if it refuses.
        OutputError: if the record cannot be written.
    """
    open_for_reading(path).close()
    if not _is_written(path):
        raise _nobody(path)
    try:
        with closing(_opened(path)) as db:
            request_id = new_id()
            request = json.dumps({"name": name, "article": article, "who": command_line()})
            db.execute("INSERT INTO requests VALUES (?, ?, ?, NULL)", (request_id, request, utc_now()))
            answer = _answer(db, path, request_id, patience_s)
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            raise RecordError(
                f"The edge-run that writes {path} is too old to be asked.", "Update it."
            ) from error
        raise described(path, error) from error
    except sqlite3.Error as error:
        raise described(path, error) from error
    if "problem" in answer:
        raise ConfigError(str(answer["problem"]), str(answer["cure"]))
    return answer


def _answer(db: sqlite3.Connection, path: Path, request_id: str, patience_s: float) -> dict[str, Any]:
    """Wait for the answer; a request that nobody answers is taken back."""
    deadline_s = time.monotonic() + patience_s
    while True:
        is_written = _is_written(path)  # before the look: the last thing it does may be to answer
        row = db.execute("SELECT answer FROM requests WHERE request_id = ?", (request_id,)).fetchone()
        if row is not None and row[0] is not None:
            answer: dict[str, Any] = json.loads(row[0])
            return answer
        if row is None or not is_written or time.monotonic() >= deadline_s:
            db.execute("DELETE FROM requests WHERE request_id = ? AND answer IS NULL", (request_id,))
            if row is None or not is_written:
                raise _nobody(path)
            raise RecordError(
                f"The edge-run that writes {path} has not answered for {patience_s:g} s.",
                f"See `loomsight roll list {path}` whether the roll has changed.",
            )
        time.sleep(LOOK_S)


def _nobody(path: Path) -> RecordError:
    return RecordError(
        f"No edge-run is writing {path}.", "Start one with --roll-record; --roll names its first roll."
    )


def _is_written(path: Path) -> bool:
    """Tell whether an edge-run holds the lock beside a record."""
    try:
        with path.with_name(f"{path.name}.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path.resolve()))}?mode=rw", uri=True, isolation_level=None
    )
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    return connection
