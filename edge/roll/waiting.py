"""What waits to be written into a roll record: in memory, under the ids that it will have there."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Final

from edge.core.events import RecordedEvent
from edge.roll.pending import PendingRoll
from edge.roll.requests import drop, write_answer
from edge.roll.values import RecordedDefect

MOST_WAITING: Final = 10_000
"""Defects and events that may wait in memory while the disk is full; more are counted, not kept."""

Written = tuple[list[RecordedDefect], list[RecordedEvent]]


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
        waited = f"{self.counts()[0]} defects waited in memory since {since}"
        lost = f"; {self.not_kept} defects and events are lost" if self.not_kept else ""
        return RecordedEvent("record written again", waited + lost)

    def written(self) -> Iterator[Written]:
        """Note that the record has all of it; yields what each roll had, in their order."""
        written = [roll.written() for roll in self.rolls]
        self.ended.clear()
        self.answers.clear()
        self.nonsense = []
        yield from ((defects, events) for defects, events in written if defects or events)
