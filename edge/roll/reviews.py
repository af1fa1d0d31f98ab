"""Record what people say of defects, verdicts and classes: nothing is overwritten, all is undone."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args
from urllib.parse import quote

from edge.core.events import new_id, utc_now
from edge.roll.database import BUSY_MS, described
from edge.roll.outbox import queue_verdict
from edge.roll.schema import REVIEWERS

Verdict = Literal["confirmed", "rejected", "undone"]
VERDICTS: Final[Mapping[object, Verdict]] = {word: word for word in get_args(Verdict)}
HOLDING: Final = ("confirmed", "rejected")


Recorded = Literal["new", "known", "no defect"]
"""What became of a review that was to be recorded."""


class Review(NamedTuple):
    """Hold the verdict of a person on a defect.

    Attributes:
        class_name: that they gave it; None if they left it at that of the detector.
        who: name of the user; None if the device has no users, or a record of an older program none.
    """

    verdict: Verdict
    class_name: str | None = None
    who: str | None = None


def record_review(path: Path, event_id: str, review: Review) -> Recorded:
    """Write a review beside the run that writes the record; it is on the disk when this returns.

    The tables `reviews`, `namings` and `reviewers` keep every one; the last one of a defect holds. The one
    that holds already is not written again, but for another person who confirms or rejects.

    Args:
        path: of the record.
        event_id: of the defect.
        review: `undone` takes the last one back.
    Returns:
        Whether it is new, was known already, or there is no such defect.
    Raises:
        RecordError: if the record is in use by another program for long.
        OutputError: if it cannot be written.
    """
    try:
        with closing(opened_for_writing(path)) as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute(REVIEWERS)
            defect = db.execute("SELECT roll_id FROM defects WHERE event_id = ?", (event_id,)).fetchone()
            if defect is None:
                return "no defect"
            is_new = not _is_same(_standing(db, event_id), review)
            if is_new:
                review_id = new_id()
                row = (review_id, event_id, defect[0], review.verdict, utc_now())
                db.execute("INSERT INTO reviews VALUES (?, ?, ?, ?, ?)", row)
                if review.class_name is not None:
                    db.execute("INSERT INTO namings VALUES (?, ?)", (review_id, review.class_name))
                if review.who is not None:
                    db.execute("INSERT INTO reviewers VALUES (?, ?)", (review_id, review.who))
                queue_verdict(db, review_id)
            db.execute("COMMIT")
            return "new" if is_new else "known"
    except sqlite3.Error as error:
        raise described(path, error) from error


def reviews_of(db: sqlite3.Connection, roll_id: str) -> dict[str, Review]:
    """Return event id -> review for the defects of a roll that have one that holds."""
    last = {event_id: review for _, event_id, review in reviews_after(db, roll_id, 0)}
    return {event_id: review for event_id, review in last.items() if review.verdict in HOLDING}


def reviews_after(db: sqlite3.Connection, roll_id: str, number: int) -> list[tuple[int, str, Review]]:
    """Return the reviews of a roll behind a number, in order: number, id of the defect, review.

    Records of older programs have none, or none with a class; damaged rows are left out.
    """
    if not has_table(db, "reviews"):
        return []
    named, signed = has_table(db, "namings"), has_table(db, "reviewers")
    query = (
        f"SELECT r.rowid, r.event_id, r.verdict, {'n.class_name' if named else 'NULL'}, "
        f"{'w.name' if signed else 'NULL'} FROM reviews r "
        f"{'LEFT JOIN namings n USING (review_id)' if named else ''} "
        f"{'LEFT JOIN reviewers w USING (review_id)' if signed else ''} "
        "WHERE r.roll_id = ? AND r.rowid > ? ORDER BY r.rowid"
    )
    return [
        (number, event_id, Review(VERDICTS[verdict], _text(class_name), _text(who)))
        for number, event_id, verdict, class_name, who in db.execute(query, (roll_id, number))
        if isinstance(event_id, str) and verdict in VERDICTS
    ]


def _text(cell: object) -> str | None:
    """Return a cell that should hold text; of a damaged one nothing."""
    return cell if isinstance(cell, str) else None


def has_table(db: sqlite3.Connection, name: str) -> bool:
    """Tell whether a record has a table; those of older programs lack some."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return db.execute(query, (name,)).fetchone() is not None


def _is_same(before: Review, now: Review) -> bool:
    """Tell whether a verdict says nothing new: what was taken back is taken back again."""
    return before == now or before.verdict == now.verdict == "undone"


def _standing(db: sqlite3.Connection, event_id: str) -> Review:
    query = (
        "SELECT verdict, class_name, name FROM reviews LEFT JOIN namings USING (review_id) "
        "LEFT JOIN reviewers USING (review_id) WHERE event_id = ? ORDER BY reviews.rowid DESC LIMIT 1"
    )
    row = db.execute(query, (event_id,)).fetchone()
    return Review(*row) if row else Review("undone")


def opened_for_writing(path: Path) -> sqlite3.Connection:
    """Open a record that is there for writing, synced with every commit."""
    connection = sqlite3.connect(
        f"file:{quote(str(path.resolve()))}?mode=rw", uri=True, isolation_level=None
    )
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection
