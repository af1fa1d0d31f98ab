"""Lay out the entries of an audit log: as lines for a person, as JSON lines and CSV for programs."""

from __future__ import annotations

import csv
import io
from collections import deque
from pathlib import Path
from typing import Final

from edge.audit.entry import AuditEntry, canonical
from edge.audit.reading import entries_of

COLUMNS: Final = ("number", "utc", "who", "kind", "data", "before", "digest")

FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet would run text that begins so; an apostrophe before it keeps it text (OWASP)."""

LONGEST: Final = 300
"""Characters of what an entry says that `show` prints; `export` has all."""


def last_entries(
    path: Path, most: int, kind: str | None = None, who: str | None = None
) -> list[AuditEntry]:
    """Return the last entries of a log, of those that are of a kind and of somebody.

    Raises:
        AuditError: if there is no such log, or it cannot be read.
    """
    chosen = (
        entry
        for entry in entries_of(path)
        if (kind is None or entry.kind == kind) and (who is None or who in entry.who)
    )
    return list(deque(chosen, maxlen=most))


def row_of(entry: AuditEntry) -> str:
    """Return an entry as one line; of the settings of a start, which are long, what changed in them."""
    data = {key: value for key, value in entry.data.items() if key != "settings"}
    said = canonical(data).decode("ascii") if data else ""
    short = said if len(said) <= LONGEST else f"{said[:LONGEST]}..."
    return f"{entry.number:>6}  {entry.utc[:19]}Z  {entry.who}  {entry.kind}  {short}".rstrip()


def as_json_lines(path: Path) -> str:
    """Return the lines of all files of a log; they can be verified as one file.

    Raises:
        AuditError: if there is no such log, or it cannot be read.
    """
    return "".join(entry.line.decode("ascii") for entry in entries_of(path))


def as_csv(path: Path) -> str:
    """Return the entries as CSV (RFC 4180), with a line of names; what they say as JSON.

    Raises:
        AuditError: if there is no such log, or it cannot be read.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for entry in entries_of(path):
        fields = entry.model_dump() | {"data": canonical(entry.data).decode("ascii")}
        writer.writerow([_cell(fields[name]) for name in COLUMNS])
    return out.getvalue()


def _cell(value: object) -> str:
    text = str(value).encode("ascii", "backslashreplace").decode("ascii")
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
