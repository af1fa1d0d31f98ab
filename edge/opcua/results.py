"""Read from the record what clients are told: each new defect, and each roll that ended."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final, NamedTuple

from edge.page.live import LivePage
from edge.page.roll_grade import RollGrade
from edge.roll.compose import document_of
from edge.roll.contents import DefectRow
from edge.roll.cuts import PieceRequest
from edge.roll.export import as_json
from edge.roll.importing import import_id
from edge.roll.reading import defect_row, defects_table, look_into, read_roll, recorded_roll
from edge.roll.rows import DamagedRowError

MOST_AT_ONCE: Final = 200
"""Defects in one look; the others come with the next one."""

MOST_RESULTS: Final = 20
"""Rolls whose ids are listed, the last ones."""

MOST_CHARACTERS: Final = 4 * 2**20
"""Of a report that is handed out whole."""

NOT_KNOWN: Final = float("nan")


@dataclass(frozen=True, slots=True)
class Result:
    """Hold the result of a roll; what is not known is NaN, or empty.

    Attributes:
        is_partial: whether the roll is still on the loom.
        status: how its inspection ended: `running`, `finished`, `failed` or `interrupted`.
    """

    job: str = ""
    roll_id: str = ""
    article: str = ""
    status: str = ""
    is_partial: bool = True
    grade: str = ""
    points: int = 0
    points_per_100_m2: float = NOT_KNOWN
    defects: int = 0
    length_m: float = NOT_KNOWN
    inspected_m2: float = NOT_KNOWN
    coverage: float = NOT_KNOWN


class FoundDefect(NamedTuple):
    """Hold a defect and the roll that it is on."""

    job: str
    roll_id: str
    row: DefectRow


class News(NamedTuple):
    """Hold what has happened since the last look.

    Attributes:
        defects: in the order in which they were recorded.
        ended: rolls that ended, the first one first.
        results: ids of the last rolls, the last one first.
    """

    defects: tuple[FoundDefect, ...] = ()
    ended: tuple[Result, ...] = ()
    results: tuple[str, ...] = ()


class CameraResults:
    """Look into the record of one camera, again and again. Called in a thread, one look at a time.

    What was recorded before the first look is no news.

    Args:
        live: what the run tells.
    """

    def __init__(self, live: LivePage) -> None:
        self._live = live
        self._grade = RollGrade(live)
        self._defect = self._roll = -1
        self._replaced = 0
        self._open: dict[str, None] = {}

    def news(self) -> News:
        """Return what has happened since the last look.

        Raises:
            RecordError: if the record cannot be read.
        """
        recorder = self._live.recorder
        if recorder is None or recorder.roll_id is None or not recorder.path.exists():
            return News()
        if self._replaced != recorder.times_replaced:  # rows have other numbers in another file
            self._replaced, self._defect, self._roll = recorder.times_replaced, -1, -1
        return look_into(recorder.path, self._look)

    def current(self) -> Result:
        """Return the result so far of the roll on the loom.

        Raises:
            RecordError: if the record cannot be read.
        """
        live, grade = self._live, self._grade.look()
        now = live.snapshot
        found = grade.grade
        return Result(
            now.run.terms.name or (live.recorder.roll_name if live.recorder else None) or "",
            live.roll_id or "",
            now.run.terms.article or "",
            "running" if now.phase != "ended" else "finished",
            now.phase != "ended",
            found.grade or "",
            found.points,
            _number(found.points_per_100_m2),
            now.defect_count,
            now.length_m if now.run.roll.knows_metres else NOT_KNOWN,
            _number(grade.inspected_m2),
            _number(now.run.roll.fraction),
        )

    def report(self, roll: str) -> str:
        """Return the report of a roll as JSON, as `loomsight roll export` writes it.

        Args:
            roll: its name, or the start of its id.
        Raises:
            RecordError: if there is none of that name, or it cannot be read.
        """
        recorder = self._live.recorder
        if recorder is None:
            return ""
        return as_json(document_of(read_roll(recorder.path, roll), PieceRequest(None, None)))

    def _look(self, db: sqlite3.Connection) -> News:
        if self._defect < 0:
            self._open.clear()
            self._defect = db.execute("SELECT coalesce(max(rowid), 0) FROM defects").fetchone()[0]
        self._note_open(db)
        defects, are_all = self._new_defects(db)
        ended = self._ended(db) if are_all else []  # a roll ends behind its last defect
        return News(tuple(defects), tuple(ended), self._last(db))

    def _new_defects(self, db: sqlite3.Connection) -> tuple[list[FoundDefect], bool]:
        """Return the defects that are new, and whether these are all."""
        name = "(SELECT name FROM rolls WHERE rolls.roll_id = defects.roll_id) AS job"
        query = (
            f"SELECT defects.rowid AS number, {name}, * FROM {defects_table(db)} "
            "WHERE defects.rowid > ? ORDER BY defects.rowid LIMIT ?"
        )
        found, rows = [], db.execute(query, (self._defect, MOST_AT_ONCE)).fetchall()
        for cells in rows:
            self._defect = cells["number"]
            row = defect_row(cells)
            if row is not None and cells["roll_id"] in self._open:  # else it was imported
                found.append(FoundDefect(str(cells["job"]), str(cells["roll_id"]), row))
        return found, len(rows) < MOST_AT_ONCE

    def _note_open(self, db: sqlite3.Connection) -> None:
        """Note the rolls that were open at the first look, and those that began since."""
        if self._roll < 0:
            began = db.execute("SELECT roll_id FROM rolls WHERE status = 'running'").fetchall()
        else:
            query = "SELECT roll_id FROM rolls WHERE rowid > ? ORDER BY rowid"
            began = db.execute(query, (self._roll,)).fetchall()
        self._open |= {row["roll_id"]: None for row in began if not _is_imported(db, row["roll_id"])}
        self._roll = db.execute("SELECT coalesce(max(rowid), 0) FROM rolls").fetchone()[0]

    def _ended(self, db: sqlite3.Connection) -> list[Result]:
        """Return the rolls that are over since the last look."""
        over = [roll_id for roll_id in self._open if _is_over(db, roll_id)]
        for roll_id in over:
            del self._open[roll_id]
        return [one for roll_id in over if (one := _result_of(db, roll_id)) is not None]

    def _last(self, db: sqlite3.Connection) -> tuple[str, ...]:
        query = "SELECT roll_id FROM rolls ORDER BY rowid DESC LIMIT ?"
        return tuple(str(row["roll_id"]) for row in db.execute(query, (MOST_RESULTS,)))


def _is_imported(db: sqlite3.Connection, roll_id: str) -> bool:
    event_id = import_id(roll_id, roll_id)
    return db.execute("SELECT 1 FROM events WHERE event_id = ?", (event_id,)).fetchone() is not None


def _is_over(db: sqlite3.Connection, roll_id: str) -> bool:
    row = db.execute("SELECT status FROM rolls WHERE roll_id = ?", (roll_id,)).fetchone()
    return row is None or row["status"] != "running"


def _result_of(db: sqlite3.Connection, roll_id: str) -> Result | None:
    try:
        roll = recorded_roll(db, roll_id)
    except (DamagedRowError, TypeError):  # or it is in the record no more
        return None
    facts, grade = roll.facts(), roll.grade
    return Result(
        roll.name,
        roll_id,
        facts["article"] or "",
        facts["status"],
        False,
        grade.grade or "",
        grade.points,
        _number(grade.points_per_100_m2),
        facts["defects"],
        _number(facts["length_m"]),
        _number(facts["inspected_m2"]),
        _number(facts["coverage"]),
    )


def _number(value: float | None) -> float:
    return NOT_KNOWN if value is None else float(value)
