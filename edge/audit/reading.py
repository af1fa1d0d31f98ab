"""Read an audit log: its entries, line by line, through all of its files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from edge.audit.entry import AuditEntry, entry_of
from edge.audit.files import archives
from edge.core.errors import AuditError
from edge.core.outside_files import open_outside, reason_of

FILE_BYTES: Final = 2**32
LINE_BYTES: Final = 2**26
"""Of one entry; the longest, all settings of a device, has some ten thousand."""

CURE: Final = "Name the file of the log, or the roll record beside which it lies."


class Line(NamedTuple):
    """Hold a line of a log.

    Attributes:
        file: that has it.
        number: of the line in that file, from 1.
        entry: None if it is none.
        is_ended: False for the last line of a file that lacks its end.
    """

    file: Path
    number: int
    entry: AuditEntry | None
    is_ended: bool


def files_of(path: Path) -> list[Path]:
    """Return the files of a log, the oldest first.

    Raises:
        AuditError: if there is none, or the folder cannot be read.
    """
    try:
        found = [*archives(path), *([path] if path.exists() else [])]
    except OSError as error:
        raise AuditError(f"There is no audit log {path}: {reason_of(error)}.", CURE) from error
    if not found:
        raise AuditError(f"There is no audit log {path}.", CURE)
    return found


def lines_of(path: Path) -> Iterator[Line]:
    """Yield every line of a log, in the order of its files.

    Raises:
        AuditError: if a file cannot be read.
    """
    for file in files_of(path):
        yield from _lines_of_file(file)


def entries_of(path: Path) -> Iterator[AuditEntry]:
    """Yield the entries of a log as they stand; `verify_log` tells whether they can be relied on.

    Raises:
        AuditError: if a file cannot be read.
    """
    return (line.entry for line in lines_of(path) if line.entry is not None)


def last_data(path: Path, kind: str, having: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what entries of a kind say, in order, where they have some values; nothing without a log.

    Raises:
        AuditError: if a file cannot be read.
    """
    if not path.exists():
        return []
    return [
        entry.data
        for entry in entries_of(path)
        if entry.kind == kind and having.items() <= entry.data.items()
    ]


def _lines_of_file(file: Path) -> Iterator[Line]:
    with open_outside(file, FILE_BYTES, AuditError, CURE) as stream:
        number = 0
        try:
            while data := stream.readline(LINE_BYTES):
                number += 1
                yield Line(file, number, entry_of(data), data.endswith(b"\n"))
        except OSError as error:
            raise AuditError(f"Cannot read {file}: {reason_of(error)}.", CURE) from error
