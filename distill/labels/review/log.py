"""Log every decision in `reviews.jsonl`, before a person sees it done; one process at a time."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from typing_extensions import Self

from distill.labels.review.decisions import ReviewDecision
from distill.labels.review.records import decision_of, encoded, line_of
from edge.core.errors import DatasetError, OutputError
from edge.core.files import cannot_write

logger = logging.getLogger(__name__)

FILE_NAME = "reviews.jsonl"


class ReviewLog:
    """Hold the log of a data set folder open, and keep other processes from it.

    Attributes:
        decisions: all that were ever made on the folder.
        pending: how many of them, the last ones, are not in the files of the data set yet.

    Args:
        folder: of the data set.
    Raises:
        OutputError: if another process reviews the folder, or the log cannot be opened.
        DatasetError: if a line before the last is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        try:
            self._lock(folder)
            self.decisions, self.pending, self._end = self._read()
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._file)  # the lock goes with it

    def append(self, decision: ReviewDecision) -> None:
        """Record a decision; it is on the disk when this returns.

        Raises:
            OutputError: if it cannot be written; the log is then as it was.
        """
        self._append(line_of(decision, _now()))
        self.decisions.append(decision)
        self.pending += 1

    def mark_written(self) -> None:
        """Record that the files of the data set hold all decisions.

        Raises:
            OutputError: if it cannot be written.
        """
        self._append(encoded({"written": len(self.decisions), "at": _now()}))
        self.pending = 0

    def _lock(self, folder: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(
                f"{folder} is under review by another process.", "Go on there, or end that one first."
            ) from error

    def _read(self) -> tuple[list[ReviewDecision], int, int]:
        """Return the decisions, how many are pending, and where the last whole line ends."""
        data = self.path.read_bytes()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            logger.warning("%s: the last line is torn and skipped", self.path)
        decisions: list[ReviewDecision] = []
        written = 0
        for number, line in enumerate(data[:end].splitlines(), start=1):
            try:
                record = json.loads(line.decode("utf-8", "surrogatepass"))
                if "written" in record:
                    written = len(decisions)
                else:
                    decisions.append(decision_of(record))
            except (ValueError, TypeError, AttributeError, RecursionError) as error:
                raise DatasetError(
                    f"{self.path}, line {number} is damaged: {error}.", "Correct it or remove the line."
                ) from error
        return decisions, len(decisions) - written, end

    def _append(self, line: bytes) -> None:
        try:
            os.ftruncate(self._file, self._end)  # what an earlier failure or crash left behind
            written = 0
            while written < len(line):
                written += os.pwrite(self._file, line[written:], self._end + written)
            os.fsync(self._file)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, self._end)
            raise cannot_write(self.path, error) from error
        self._end += len(line)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
