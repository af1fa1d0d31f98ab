"""Reading a roll record: what was recorded, as values."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from edge.cloth.defects import ClothDefect
from edge.cloth.grading import Grade, grade_roll
from edge.errors import RecordError
from edge.roll.database import open_for_reading
from edge.roll.record import defect_of
from edge.roll.reviews import verdicts_of

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class DefectRow:
    """A recorded defect.

    Attributes:
        box_xyxy_px: in its picture; None if it has none.
        verdict: a person's, `confirmed` or `rejected`; None if nobody gave one.
    """

    event_id: str
    defect: ClothDefect
    points: int
    picture: str | None
    box_xyxy_px: tuple[float, float, float, float] | None
    utc: str
    verdict: str | None = None


@dataclass(frozen=True, slots=True)
class GapRow:
    """A recorded gap; one of pictures that could not be read has no place."""

    event_id: str
    lines: int
    start_m: float | None
    end_m: float | None
    reason: str
    utc: str


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something that happened; see `RecordedEvent`."""

    event_id: str
    kind: str
    detail: str
    at_m: float | None
    utc: str
    data: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Roll:
    """A recorded roll; see the table `rolls` for what the names mean.

    Attributes:
        head: the row of the table.
        defects, gaps, events: in the order of the roll, events in that of time.
    """

    head: dict[str, Any]
    defects: tuple[DefectRow, ...]
    gaps: tuple[GapRow, ...]
    events: tuple[EventRow, ...]

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.head["name"])

    @property
    def m_per_line(self) -> float:
        """Metres per line; 0 where the camera knew no position."""
        return (self.head["mm_per_line"] or 0.0) / 1000

    @property
    def length_m(self) -> float:
        """Metres between the first and the last line."""
        return float(self.head["reached_line"] * self.m_per_line)

    @property
    def inspected_m(self) -> float:
        """Metres that were inspected."""
        return float(self.head["inspected_lines"] * self.m_per_line)

    @property
    def coverage(self) -> float | None:
        """Share of what passed that was inspected, by lines or, where there are none, by frames."""
        unit = "lines" if self.head["passed_lines"] else "frames"
        passed = self.head[f"passed_{unit}"]
        return self.head[f"inspected_{unit}"] / passed if passed else None

    @property
    def width_mm(self) -> float | None:
        """Width of the cloth; None if not known."""
        width: float | None = self.head["cloth_width_mm"]
        return width

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the run, plain values."""
        settings: dict[str, Any] = json.loads(self.head["settings"])
        return settings

    @property
    def grade_limits(self) -> dict[str, float]:
        """Grade to the most points per 100 square metres, as the run had them."""
        limits: dict[str, float] = self.settings.get("grade_limits", {})
        return limits

    @property
    def grade(self) -> Grade:
        """The roll's grade by what is recorded up to now."""
        defects = (row.defect for row in self.defects)
        return grade_roll(defects, self.inspected_m, self.width_mm, self.grade_limits)

    @property
    def verdicts(self) -> dict[str, int]:
        """How many defects persons confirmed and rejected; empty where nobody judged any."""
        counts = Counter(row.verdict for row in self.defects if row.verdict)
        return {verdict: counts[verdict] for verdict in ("confirmed", "rejected") if counts[verdict]}

    @property
    def grade_after_review(self) -> Grade:
        """The grade without the defects that a person rejected."""
        left = (row.defect for row in self.defects if row.verdict != "rejected")
        return grade_roll(left, self.inspected_m, self.width_mm, self.grade_limits)

    def facts(self) -> dict[str, Any]:
        """Return what a person wants to know first, plain values."""
        shown = (
            "roll_id",
            "name",
            "article",
            "status",
            "started_utc",
            "ended_utc",
            "camera",
            "model_digest",
        )
        gap_m: dict[str, float] = {}
        for gap in self.gaps:
            gap_m[gap.reason] = gap_m.get(gap.reason, 0.0) + gap.lines * self.m_per_line
        known = bool(self.m_per_line)
        return {name: self.head[name] for name in shown} | {
            "length_m": round(self.length_m, 4) if known else None,
            "inspected_m": round(self.inspected_m, 4) if known else None,
            "coverage": None if self.coverage is None else round(self.coverage, 6),
            "gaps_m": {reason: round(metres, 4) for reason, metres in gap_m.items()},
            "width_mm": None if self.width_mm is None else round(self.width_mm, 1),
            "defects": len(self.defects),
            **self.grade.as_json(),
            "verdicts": self.verdicts,
            "after_review": self.grade_after_review.as_json() if self.verdicts else None,
        }


def read_rolls(path: Path) -> list[Roll]:
    """Read all rolls of a record, the first one first.

    Raises:
        RecordError: if the record cannot be read.
    """
    return _reading(path, lambda db: [_roll(db, row) for row in db.execute("SELECT * FROM rolls")])


def read_roll(path: Path, name: str | None) -> Roll:
    """Read one roll.

    Args:
        path: of the record.
        name: of the roll, or the begin of its id (from 8 characters); None for the last one. Of several
            rolls of one name the last.
    Raises:
        RecordError: if the record cannot be read, or there is no such roll.
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
        return _roll(db, row)

    return _reading(path, find)


def _reading(path: Path, read: Callable[[sqlite3.Connection], Result]) -> Result:
    try:
        with closing(open_for_reading(path)) as db:
            db.execute("BEGIN")  # one moment of a record that is being written
            return read(db)
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise RecordError(
            f"{path} cannot be read as a roll record: {error}.",
            "Name another file; edge-run sets a damaged one aside when it starts.",
        ) from error


def _roll(db: sqlite3.Connection, head: sqlite3.Row) -> Roll:
    mine = (head["roll_id"],)
    defects = db.execute("SELECT * FROM defects WHERE roll_id = ? ORDER BY start_m, rowid", mine)
    gaps = db.execute("SELECT * FROM gaps WHERE roll_id = ? ORDER BY start_line", mine)
    events = db.execute("SELECT * FROM events WHERE roll_id = ? ORDER BY rowid", mine)
    verdicts = verdicts_of(db, head["roll_id"])
    data = _data_of_events(db)
    return Roll(
        dict(head),
        tuple(defect_row(row, verdicts.get(row["event_id"])) for row in defects),
        tuple(GapRow(*(row[name] for name in GapRow.__slots__)) for row in gaps),
        tuple(_event(row, data) for row in events),
    )


def _event(row: sqlite3.Row, data: dict[str, dict[str, Any]]) -> EventRow:
    event_id = row["event_id"]
    return EventRow(event_id, row["kind"], row["detail"], row["at_m"], row["utc"], data.get(event_id))


def _data_of_events(db: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    """Return event id -> data; a record that no newer program has opened has no table for it."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'event_data'").fetchone():
        return {}
    return {row["event_id"]: json.loads(row["data"]) for row in db.execute("SELECT * FROM event_data")}


def defect_row(row: sqlite3.Row, verdict: str | None = None) -> DefectRow:
    """Return a row of the table `defects` as a value."""
    box = json.loads(row["box_xyxy_px"]) if row["box_xyxy_px"] else None
    return DefectRow(
        row["event_id"],
        defect_of(row),
        row["points"],
        row["picture"],
        tuple(box) if box else None,
        row["utc"],
        verdict,
    )
