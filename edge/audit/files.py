"""Find the files of an audit log, read where it ends, and write behind that."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, NamedTuple

from edge.audit.entry import AuditEntry, Head, entry_of

SUFFIX: Final = ".audit.jsonl"
"""Behind the name of a roll record: the log beside it."""

STEP_BYTES: Final = 1 << 16
DIGITS: Final = 12


def log_beside(record: Path) -> Path:
    """Return the log that lies beside a roll record where the settings name no other."""
    return record.with_name(f"{record.name}{SUFFIX}")


def lock_of(path: Path) -> Path:
    """Return the file whose lock a program holds while it writes a log."""
    return path.with_name(f"{path.name}.lock")


def archives(path: Path) -> list[Path]:
    """Return the files that a log was written in before, the oldest first.

    Raises:
        OSError: if the folder cannot be read.
    """
    name = re.compile(re.escape(path.name) + rf"\.([0-9]{{{DIGITS}}})")
    found = [(match[1], one) for one in path.parent.iterdir() if (match := name.fullmatch(one.name))]
    return [one for _, one in sorted(found)]


def archive_name(path: Path, first_number: int) -> Path:
    """Return what a full file of a log is called: behind the log's name the number of its first entry."""
    number = first_number
    while os.path.lexists(named := path.with_name(f"{path.name}.{number:0{DIGITS}d}")):
        number += 1  # only where the log was replaced by hand
    return named


class End(NamedTuple):
    """Say where a file of a log ends.

    Attributes:
        entry: the last whole one; None if there is none.
        end: bytes up to the end of its line.
        damaged_to: bytes up to the end of lines behind it that are no entries; `end` if there are none.
        size: bytes of the file; what lies behind `damaged_to` is a line without an end.
    """

    entry: AuditEntry | None
    end: int
    damaged_to: int
    size: int


def end_of(descriptor: int) -> End:
    """Find where a file ends, from its end backwards.

    Raises:
        OSError: if it cannot be read.
    """
    size = os.fstat(descriptor).st_size
    start, data = size, b""
    while True:
        step = min(STEP_BYTES, start)
        start -= step
        data = os.pread(descriptor, step, start) + data
        found = _end_in(data, start, size)
        if found is not None:
            return found


def _end_in(data: bytes, start: int, size: int) -> End | None:
    """Look for the last entry in the last bytes of a file; None if it may lie before them."""
    whole = data.rfind(b"\n") + 1
    damaged_to, behind = start + whole, whole
    while behind:
        line_start = data.rfind(b"\n", 0, behind - 1) + 1
        if line_start == 0 and start > 0:
            return None
        entry = entry_of(data[line_start:behind])
        if entry is not None and entry.is_whole:
            return End(entry, start + behind, damaged_to, size)
        behind = line_start
    return End(None, 0, damaged_to, size) if start == 0 else None


def holds(descriptor: int, end: int, line: bytes) -> bool:
    """Tell whether a line still ends at a place of a file."""
    return end >= len(line) and os.pread(descriptor, len(line), end - len(line)) == line


def first_head(path: Path) -> Head | None:
    """Return what the first entry of a file follows; None if that cannot be read."""
    try:
        with path.open("rb") as stream:
            entry = entry_of(stream.readline())
    except OSError:
        return None
    return Head(entry.number - 1, entry.before) if entry is not None else None
