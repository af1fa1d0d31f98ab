"""Read a roll record into values."""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from edge.cloth.width import Across, Strip
from edge.core.errors import RecordError
from edge.process.terminal import printable
from edge.roll.contents import DefectRow, EventRow, GapRow, Roll
from edge.roll.database import open_for_reading, unreadable
from edge.roll.headers import header_of_roll
from edge.roll.reviews import has_table, reviews_of
from edge.roll.rows import (
    BESIDE_M,
    Cells,
    DamagedRowError,
    DefectCells,
    EventCells,
    GapCells,
    RollCells,
    ViewCells,
    box_of,
    cells_of,
    data_of,
)

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


def read_rolls(path: Path) -> list[Roll]:
    """Read all rolls of a record, the first one first; one whose own row is damaged is named and left out.

    Raises:
        RecordError: if the record cannot be read.
    """

    def read(db: sqlite3.Connection) -> list[Roll]:
        rolls = []
        for number, row in enumerate(db.execute("SELECT * FROM rolls ORDER BY rowid"), start=1):
            try:
                rolls.append(_roll(db, row))
            except DamagedRowError as error:
                logger.warning("%s: row %d of rolls is damaged and left out: %s", path, number, error)
        return rolls

    return look_into(path, read)


def read_roll(path: Path, name: str | None) -> Roll:
    """Read one roll.

    Args:
        path: of the record.
        name: of the roll, or the start of its id (from 8 characters); None for the last one. Of several
            rolls of one name the last.
    Raises:
        RecordError: if the record cannot be read, there is no such roll, or its own row is damaged.
    """

    def find(db: sqlite3.Connection) -> Roll:
        query = "SELECT * FROM rolls {} ORDER BY rowid DESC LIMIT 1"
        if name is None:
            row = db.execute(query.format("")).fetchone()
        else:
            where = "WHERE name = ?1 OR (length(?1) >= 8 AND substr(roll_id, 1, length(?1)) = ?1)"
            row = db.execute(query.format(where), (name,)).fetchone()
        if row is None:
            what = "is empty" if name is None else f"has no roll '{name}'"
            raise RecordError(f"The roll record {path} {what}.", f"See `loomsight roll list {path}`.")
        try:
            return _roll(db, row)
        except DamagedRowError as error:
            which = "The last roll" if name is None else f"Roll '{name}'"
            raise RecordError(
                f"{which} of {path} is damaged: {error}.",
                f"Name another one with --roll; `loomsight roll list {path}` shows those that can be read.",
            ) from error

    return look_into(path, find)


def recorded_roll(db: sqlite3.Connection, roll_id: str) -> Roll:
    """Return a roll of an open record by its id.

    Raises:
        DamagedRowError: if its own row is damaged.
    """
    return _roll(db, db.execute("SELECT * FROM rolls WHERE roll_id = ?", (roll_id,)).fetchone())


def recorded_view(db: sqlite3.Connection, roll_id: str) -> Strip | None:
    """Return the strip of the cloth that was seen of a roll; None where the record does not say it."""
    if not has_table(db, "views"):
        return None
    row = db.execute("SELECT * FROM views WHERE roll_id = ?", (roll_id,)).fetchone()
    try:
        cells = None if row is None else cells_of(ViewCells, row)[0]
    except DamagedRowError:
        return None
    return None if cells is None else Strip(cells.left_mm, cells.right_mm)


def recorded_across(db: sqlite3.Connection, head: RollCells) -> Across:
    """Return how much of the width of the cloth was seen on a roll, by its row of an open record."""
    return Roll(head.model_dump(), (), (), (), recorded_view(db, head.roll_id)).across


def look_into(path: Path, read: Callable[[sqlite3.Connection], Result]) -> Result:
    """Read something of a record, as it is at one moment.

    Args:
        path: of the record.
        read: does it.
    Raises:
        RecordError: if the record cannot be read, or holds what `read` cannot take.
    """
    try:
        with closing(open_for_reading(path)) as db:
            db.text_factory = _text
            db.execute("BEGIN")  # one moment of a record that is being written
            if not has_table(db, "rolls"):  # a run that was killed as it began leaves such a file
                raise RecordError(f"{path} holds no roll yet.", "Name it as --roll-record of an edge-run.")
            return read(db)
    except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
        raise unreadable(path, error) from error


def _text(data: bytes) -> str:
    """Return a text as it is shown: bytes that are none are marked, control characters are spelt out."""
    return printable(data.decode("utf-8", "replace"))


def _roll(db: sqlite3.Connection, row: sqlite3.Row) -> Roll:
    """Read a roll with all that belongs to it; damaged rows are counted and left out.

    Raises:
        DamagedRowError: if its own row is damaged.
    """
    damaged: Counter[str] = Counter()
    head, is_repaired = cells_of(RollCells, row)
    damaged["rolls"] += is_repaired
    read = _Reader(db, head, damaged)
    header, wrong = header_of_roll(db, head.roll_id)
    damaged["headers"] += wrong
    roll = Roll(
        dict(row) | head.model_dump(),
        tuple(read.defects()),
        tuple(read.gaps()),
        tuple(read.events()),
        read.view(),
        damaged={table: count for table, count in damaged.items() if count},
        header=header,
    )
    if roll.damaged:
        rows = ", ".join(f"{count} of {table}" for table, count in roll.damaged.items())
        logger.warning(
            "roll '%s': damaged rows in the record, left out or kept without what is damaged: %s",
            roll.name,
            rows,
        )
    return roll


class _Reader:
    """Read what belongs to one roll, and count what is damaged."""

    def __init__(self, db: sqlite3.Connection, head: RollCells, damaged: Counter[str]) -> None:
        self._db = db
        self._head = head
        self._damaged = damaged

    def defects(self) -> Iterator[DefectRow]:
        """Yield the defects, in the order of the roll."""
        reviews = reviews_of(self._db, self._head.roll_id)
        for cells in self._rows(defects_table(self._db), DefectCells, "start_m, defects.rowid"):
            if not self._is_on_roll("defects", cells.start_m, cells.end_m):
                continue
            try:
                box = box_of(cells.box_xyxy_px)
            except ValueError:
                box = None
                self._damaged["defects"] += 1
            review = reviews.get(cells.event_id)
            judged = (None, None, None) if review is None else review
            yield DefectRow(
                cells.event_id, cells.defect, cells.points, cells.picture, box, cells.utc, *judged
            )

    def gaps(self) -> Iterator[GapRow]:
        """Yield the gaps, in the order of the roll."""
        for cells in self._rows("gaps", GapCells, "start_line"):
            if cells.start_m is None or self._is_on_roll("gaps", cells.start_m, cells.end_m or 0.0):
                yield GapRow(
                    cells.event_id, cells.lines, cells.start_m, cells.end_m, cells.reason, cells.utc
                )

    def events(self) -> Iterator[EventRow]:
        """Yield the events, in the order of time."""
        texts = self._data_of_events()
        for cells in self._rows("events", EventCells, "rowid"):
            data = None
            if cells.event_id in texts:
                data = data_of(texts[cells.event_id])
                self._damaged["event_data"] += data is None
            yield EventRow(cells.event_id, cells.kind, cells.detail, cells.at_m, cells.utc, data)

    def view(self) -> Strip | None:
        """Return the strip of the cloth that was seen; None where the record does not say it."""
        if not has_table(self._db, "views"):
            return None
        view = next(self._rows("views", ViewCells, "rowid"), None)
        return None if view is None else Strip(view.left_mm, view.right_mm)

    def _rows(self, tables: str, kind: type[Cells], order: str) -> Iterator[Cells]:
        """Yield the rows of a table, which comes first of those that are joined."""
        table, query = tables.split()[0], f"SELECT * FROM {tables} WHERE roll_id = ? ORDER BY {order}"
        for row in self._db.execute(query, (self._head.roll_id,)):
            try:
                cells, is_repaired = cells_of(kind, row)
            except DamagedRowError:
                self._damaged[table] += 1
                continue
            self._damaged[table] += is_repaired
            yield cells

    def _is_on_roll(self, table: str, start_m: float, end_m: float) -> bool:
        is_on = start_m >= -BESIDE_M and end_m <= self._head.length_m + BESIDE_M
        self._damaged[table] += not is_on
        return is_on

    def _data_of_events(self) -> dict[str, Any]:
        """Return event id -> data; a record that no newer program has opened has no table for it."""
        if not has_table(self._db, "event_data"):
            return {}
        query = "SELECT event_id, data FROM events JOIN event_data USING (event_id) WHERE roll_id = ?"
        return dict(self._db.execute(query, (self._head.roll_id,)).fetchall())


def defects_table(db: sqlite3.Connection) -> str:
    """Return the table `defects` with shapes and kinds beside it; those of older programs have none."""
    beside = [table for table in ("shapes", "kinds") if has_table(db, table)]
    return " ".join(["defects", *(f"LEFT JOIN {table} USING (event_id)" for table in beside)])


def defect_row(row: sqlite3.Row) -> DefectRow | None:
    """Return a row of `defects_table` as a value; None if it is damaged."""
    try:
        cells, _ = cells_of(DefectCells, row)
        box = box_of(cells.box_xyxy_px)
    except ValueError:
        return None
    return DefectRow(cells.event_id, cells.defect, cells.points, cells.picture, box, cells.utc)
