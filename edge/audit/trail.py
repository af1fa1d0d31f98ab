"""Write a run's audit entries from a thread of its own: inspection never waits for them."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from typing_extensions import Self

from edge.audit.entry import ENTRIES_LOST, THE_LOG, Head, Note
from edge.audit.log import AuditLog
from edge.core.counted import counted
from edge.core.errors import OutputError
from edge.process.supervised import HelperThread

logger = logging.getLogger(__name__)

MOST_WAITING: Final = 10_000
"""Entries that wait in memory while the log cannot be written; more are counted, not kept."""

RETRY_S: Final = 2.0
AT_ONCE: Final = 200
LEAVE_S: Final = 5.0
"""The end of a run waits so long for the last entries."""


class AuditTrail:
    """Take what is done in a device, from any thread, and write it into the audit log.

    When the log cannot be written (disk full, no permission), inspection goes on: entries wait in memory,
    with the time at which they were made, and are written as soon as that works.

    Args:
        log: that is written.
    """

    def __init__(self, log: AuditLog) -> None:
        self.log = log
        self._waiting: deque[Note] = deque()
        self._lost = 0
        self._problem: str | None = None
        self._changed = threading.Condition()
        self._end = threading.Event()
        self._thread = HelperThread("audit log", self._write_all, self._end)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(LEAVE_S)
        waiting = len(self._waiting) + self._lost
        if waiting:
            entries = counted(waiting, "entry", "entries")
            logger.error(
                "%s of the audit log %s are not written: %s", entries, self.log.path, self._problem
            )
        elif self.log.head is not None:
            logger.info("audit log %s: head %s", self.log.path, self.log.head)

    @property
    def head(self) -> Head | None:
        """The newest entry that is on the disk; None before the first."""
        return self.log.head

    @property
    def problem(self) -> str | None:
        """Why the log cannot be written now; None while it can."""
        return self._problem

    def note(self, who: str, kind: str, data: Mapping[str, Any] | None = None) -> None:
        """Take an entry, without waiting and without an error, whatever the log does."""
        with self._changed:
            if len(self._waiting) >= MOST_WAITING:
                self._lost += 1
                return
            self._waiting.append(Note(_text(who), kind, _plain(data or {})))
            self._changed.notify_all()

    def settle(self, most_s: float = 1.0) -> bool:
        """Wait until all entries are written; False if they are not by then."""
        deadline_s = time.monotonic() + most_s
        with self._changed:
            while self._waiting and self._problem is None and time.monotonic() < deadline_s:
                self._changed.wait(max(0.0, deadline_s - time.monotonic()))
            return not self._waiting

    def _write_all(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._end.is_set():
                    self._changed.wait()
                notes = [self._waiting[number] for number in range(min(len(self._waiting), AT_ONCE))]
                lost = self._lost
            if not notes:
                return
            if not self._is_written(notes, lost):
                if self._end.is_set():
                    return
                self._end.wait(RETRY_S)

    def _is_written(self, notes: list[Note], lost: int) -> bool:
        """Write entries; those that cannot be written now stay where they are."""
        told = [Note(THE_LOG, ENTRIES_LOST, {"entries": lost})] if lost else []
        try:
            self.log.append([*notes, *told])
        except OutputError as error:
            self._tell(str(error))
            return False
        with self._changed:
            for _ in notes:
                self._waiting.popleft()
            self._lost -= lost
            is_again, self._problem = self._problem is not None, None
            self._changed.notify_all()
        if is_again:
            logger.info("the audit log %s can be written again", self.log.path)
        return True

    def _tell(self, problem: str) -> None:
        with self._changed:
            is_new, self._problem = self._problem is None, problem
            self._changed.notify_all()
        if is_new:
            logger.error("%s Inspection goes on; entries wait.", problem)


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as JSON has them; what JSON does not have as text."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(data), default=str, allow_nan=False))
    except (ValueError, TypeError, RecursionError):
        return {"as_text": _text(repr(dict(data)))[:1000]}
    return plain
