"""Reading a roll record: what was recorded, as values."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from edge.cloth.defects import ClothDefect, class_and_shape
from edge.cloth.grading import Grade, area_m2, grade_roll
from edge.cloth.width import Across, Strip, within_part
from edge.errors import RecordError
from edge.roll.database import open_for_reading, unreadable
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
from edge.terminal import printable

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class DefectRow:
    """A recorded defect.

    Attributes:
        box_xyxy_px: in its picture; None if it has none.
        verdict: a person's, `confirmed` or `rejected`; None if nobody gave one.
        named: class that a person gave it; None if nobody did.
    """

    event_id: str
    defect: ClothDefect
    points: int
    picture: str | None
    box_xyxy_px: tuple[float, float, float, float] | None
    utc: str
    verdict: str | None = None
    named: str | None = None

    @property
    def called(self) -> str:
        """Its class for a person to read: with the shape of what no detector named."""
        return class_and_shape(self.defect)

    @property
    def judged(self) -> str:
        """What a person said of it, and the class they gave it; empty where nobody did."""
        return ", ".join(word for word in (self.verdict, self.named) if word)


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
class SeenTogether:
    """Say what several cameras saw of a roll: how much of its width, and how much area."""

    across: Across
    inspected_m2: float


@dataclass(frozen=True, slots=True)
class Roll:
    """A recorded roll; see the table `rolls` for what the names mean.

    Attributes:
        head: the row of the table.
        defects, gaps, events: in the order of the roll, events in that of time.
        view: strip of the cloth that its camera saw on the lines that it inspected, on average; None if
            the record does not say it.
        together: of several cameras: what they saw; None for one.
        damaged: table to how many rows of it are damaged: they are left out, or what is wrong in them is.
    """

    head: dict[str, Any]
    defects: tuple[DefectRow, ...]
    gaps: tuple[GapRow, ...]
    events: tuple[EventRow, ...]
    view: Strip | None = None
    together: SeenTogether | None = None
    damaged: Mapping[str, int] = field(default_factory=dict)

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
        """Share of the length that passed that was inspected, by lines or, without any, by frames."""
        unit = "lines" if self.head["passed_lines"] else "frames"
        passed = self.head[f"passed_{unit}"]
        return self.head[f"inspected_{unit}"] / passed if passed else None

    @property
    def across(self) -> Across:
        """How much of the width of the cloth was seen."""
        if self.together is not None:
            return self.together.across
        offset_mm, width_mm = self.settings.get("offset_mm"), self.head["cloth_width_mm"]
        left_mm = max(offset_mm or 0.0, 0.0)
        if width_mm is None:
            return Across(None, None if self.view is None else (self.view,))
        if self.view is None and self.settings.get("cloth_width_mm") is None:
            width_mm = max(0.0, width_mm - left_mm)  # older programs measured from the left selvedge
        part = Strip(left_mm, left_mm + width_mm)
        return within_part(part, self.view, is_placed=offset_mm is not None)

    @property
    def width_mm(self) -> float | None:
        """Width of the cloth, or of the part of it that the camera is there for; None if not known."""
        return self.across.width_mm

    @property
    def inspected_m2(self) -> float | None:
        """Area that was inspected; None where the width of the cloth is not known."""
        if self.together is not None:
            return self.together.inspected_m2
        return area_m2(self.inspected_m, self.across.seen_mm)

    @property
    def area_coverage(self) -> float | None:
        """Share of the area that passed that was inspected; None where width or length is not known."""
        passed_m2 = area_m2(self.head["passed_lines"] * self.m_per_line, self.width_mm)
        inspected_m2 = self.inspected_m2
        if not passed_m2 or inspected_m2 is None:
            return None
        is_whole = self.coverage == 1 and not self.across.unseen
        return 1.0 if is_whole else min(1.0, inspected_m2 / passed_m2)

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
        return grade_roll((row.defect for row in self.defects), self.inspected_m2, self.grade_limits)

    @property
    def verdicts(self) -> dict[str, int]:
        """How many defects persons confirmed and rejected; empty where nobody judged any."""
        counts = Counter(row.verdict for row in self.defects if row.verdict)
        return {verdict: counts[verdict] for verdict in ("confirmed", "rejected") if counts[verdict]}

    @property
    def grade_after_review(self) -> Grade:
        """The grade without the defects that a person rejected."""
        left = (row.defect for row in self.defects if row.verdict != "rejected")
        return grade_roll(left, self.inspected_m2, self.grade_limits)

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
        known, across = bool(self.m_per_line), self.across
        return {name: self.head[name] for name in shown} | {
            "length_m": round(self.length_m, 4) if known else None,
            "inspected_m": round(self.inspected_m, 4) if known else None,
            "coverage": _rounded(self.coverage, 6),
            "gaps_m": {reason: round(metres, 4) for reason, metres in gap_m.items()},
            "width_mm": _rounded(across.width_mm, 1),
            "seen_width_mm": _rounded(across.seen_mm, 1),
            "inspected_m2": _rounded(self.inspected_m2, 4) if known else None,
            "area_coverage": _rounded(self.area_coverage, 6),
            "defects": len(self.defects),
            **self.grade.as_json(),
            "verdicts": self.verdicts,
            "after_review": self.grade_after_review.as_json() if self.verdicts else None,
            "damaged_rows": dict(self.damaged),
        }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


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
        name: of the roll, or the begin of its id (from 8 characters); None for the last one. Of several
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
    roll = Roll(
        dict(row) | head.model_dump(),
        tuple(read.defects()),
        tuple(read.gaps()),
        tuple(read.events()),
        read.view(),
        damaged={table: count for table, count in damaged.items() if count},
    )
    if roll.damaged:
        rows = ", ".join(f"{count} of {table}" for table, count in roll.damaged.items())
        logger.warning("roll '%s': damaged rows in the record are left out: %s", roll.name, rows)
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
            said = (None, None) if review is None else review
            yield DefectRow(
                cells.event_id, cells.defect, cells.points, cells.picture, box, cells.utc, *said
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
    """Return the table `defects` with the shapes beside it; those of older programs have none."""
    return "defects LEFT JOIN shapes USING (event_id)" if has_table(db, "shapes") else "defects"


def defect_row(row: sqlite3.Row) -> DefectRow | None:
    """Return a row of `defects_table` as a value; None if it is damaged."""
    try:
        cells, _ = cells_of(DefectCells, row)
        box = box_of(cells.box_xyxy_px)
    except ValueError:
        return None
    return DefectRow(cells.event_id, cells.defect, cells.points, cells.picture, box, cells.utc)
