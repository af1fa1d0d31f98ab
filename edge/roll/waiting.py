"""Hold rows that wait to be written into a roll record: in memory, under their final ids."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from edge.cloth.coverage import Coverage
from edge.core.counted import counted
from edge.core.errors import ConfigError
from edge.core.events import RecordedEvent, utc_now
from edge.roll.requests import drop, write_answer
from edge.roll.values import OpenRoll, RecordedDefect, RollHead, RollStatus
from edge.roll.writing import end_roll, insert_defect, insert_event, insert_roll, write_coverage

MOST_WAITING: Final = 10_000
"""Defects and events that may wait in memory while the disk is full; more are counted, not kept."""

Written = tuple[list[RecordedDefect], list[RecordedEvent]]


@dataclass(slots=True)
class PendingRoll:
    """Hold what the record does not have yet of a roll, under the ids that it will have there.

    Attributes:
        is_started: whether the record has the roll.
        recorded: defects of the roll that the record has, those of earlier runs among them.
        coverage: as it is to be written; None if there is nothing yet.
        width_mm: of the cloth as measured; None if not known.
        changed_from: line of the camera from which on gaps changed; None if none did.
        ended: status and time, once it has ended.
    """

    head: RollHead
    roll: OpenRoll
    is_started: bool
    recorded: int = 0
    coverage: Coverage | None = None
    width_mm: float | None = None
    defects: list[RecordedDefect] = field(default_factory=list)
    events: list[RecordedEvent] = field(default_factory=list)
    changed_from: int | None = None
    ended: tuple[RollStatus, str] | None = None

    def cover(self, coverage: Coverage, width_mm: float | None) -> None:
        """Take in how far the roll has come."""
        changed = coverage.gap_list.take_changed()
        known = [line for line in (changed, self.changed_from) if line is not None]
        self.coverage, self.width_mm, self.changed_from = coverage, width_mm, min(known, default=None)

    def check_scale(self, coverage: Coverage) -> None:
        """Refuse to go on with a roll whose lines have another length: they could not be added up.

        Raises:
            ConfigError: if they have.
        """
        before, now = self.roll.mm_per_line, coverage.mm_per_line
        if before is not None and now is not None and before != now:
            raise ConfigError(
                f"Roll '{self.roll.name}' was recorded at {before:g} mm per line; this camera has {now:g}.",
                "Name another --roll.",
            )

    def begin_again(self) -> None:
        """Note that the record has nothing of the roll any more: it is recorded as far as memory goes."""
        self.is_started, self.recorded = False, 0
        if self.coverage is not None:
            self.changed_from = self.coverage.first_line

    def end(self, status: RollStatus) -> None:
        """Note that the roll ends now."""
        self.ended = (status, utc_now())

    def write(self, db: sqlite3.Connection) -> None:
        """Write all of it, in the transaction of the caller; `written` is for when that is on the disk."""
        if not self.is_started:
            insert_roll(db, self.roll, self.head)
        for defect in self.defects:
            insert_defect(db, self.roll.roll_id, defect)
        for event in self.events:
            insert_event(db, self.roll.roll_id, event)
        coverage = self.coverage
        if coverage is not None and (
            coverage.knows_metres or coverage.frames_inspected or coverage.frames_without_cloth
        ):
            across = self.head.terms(None).across(self.width_mm, coverage.view.strip())
            write_coverage(db, self.roll, coverage, self.changed_from, across.width_mm)
        if self.ended is not None:
            status, utc = self.ended
            end_roll(db, self.roll.roll_id, status, self.head.settings, utc)

    def written(self) -> tuple[list[RecordedDefect], list[RecordedEvent]]:
        """Note that the record has all of it; returns what had waited."""
        done = self.defects, self.events
        self.recorded += len(self.defects)
        self.is_started, self.changed_from, self.defects, self.events = True, None, [], []
        return done


class Waiting:
    """Hold the rolls of a run that the record does not have whole, and the answers to requests.

    Attributes:
        now: the roll that passes; None before it is open.
        ended: rolls before it, in their order.
        answers: id of a request to what it is told.
        nonsense: numbers of rows of requests that are none.
        not_kept: defects and events beyond `MOST_WAITING`.
    """

    def __init__(self) -> None:
        self.now: PendingRoll | None = None
        self.ended: list[PendingRoll] = []
        self.answers: dict[str, dict[str, Any]] = {}
        self.nonsense: list[int] = []
        self.not_kept = 0

    @property
    def roll(self) -> PendingRoll:
        """The roll that passes.

        Raises:
            ValueError: if none is open.
        """
        if self.now is None:
            raise ValueError("write to a recorder that is not open")
        return self.now

    @property
    def rolls(self) -> tuple[PendingRoll, ...]:
        """All rolls, in their order."""
        return (*self.ended, self.roll)

    @property
    def is_urgent(self) -> bool:
        """Whether there is more than progress to write."""
        return bool(self.roll.defects or self.roll.events or self.ended or self.answers or self.nonsense)

    def keep(self, item: RecordedDefect | RecordedEvent) -> None:
        """Take in what was found on the roll that passes, or happened to it."""
        if sum(self.counts()) >= MOST_WAITING:
            self.not_kept += 1
        elif isinstance(item, RecordedDefect):
            self.roll.defects.append(item)
        else:
            self.roll.events.append(item)

    def counts(self) -> tuple[int, int]:
        """Count the defects and events that wait."""
        return sum(len(roll.defects) for roll in self.rolls), sum(len(roll.events) for roll in self.rolls)

    def write(self, db: sqlite3.Connection) -> None:
        """Write all of it, in the transaction of the caller; `written` is for when that is on the disk."""
        for roll in self.rolls:
            roll.write(db)
        for request_id, answer in self.answers.items():
            write_answer(db, request_id, answer)
        drop(db, self.nonsense)

    def written_again(self, since: str) -> RecordedEvent:
        """Return the event of a record that can be written again, after what time."""
        waited = f"{counted(self.counts()[0], 'defect')} waited in memory since {since}"
        lost = f"; defects and events lost: {self.not_kept}" if self.not_kept else ""
        return RecordedEvent("record written again", waited + lost)

    def written(self) -> Iterator[Written]:
        """Note that the record has all of it; yields what each roll had, in their order."""
        written = [roll.written() for roll in self.rolls]
        self.ended.clear()
        self.answers.clear()
        self.nonsense = []
        yield from ((defects, events) for defects, events in written if defects or events)
