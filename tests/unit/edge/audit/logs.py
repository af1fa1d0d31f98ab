"""Audit logs for tests, and what may be done to them by hand."""

from __future__ import annotations

from edge.audit.entry import Head, Note, chained, entry_of
from edge.audit.log import AuditLog


def written(path, count, **options):
    """Write a log of so many entries, its own first one among them; returns it."""
    log = AuditLog(path, **options)
    for number in range(count - 1):
        log.append([Note("user anna", "verdict", {"id": f"{number:032x}", "verdict": "confirmed"})])
    return log


def lines_in(path):
    return path.read_bytes().splitlines(keepends=True)


def rechained(lines, first=Head(0, "0" * 64)):
    """Return entries with the same content in a chain that is right again, as a forger would write them."""
    made, head = [], first
    for line in lines:
        entry = entry_of(line)
        made.append(chained(Note(entry.who, entry.kind, entry.data, entry.utc), head))
        head = made[-1].head
    return [entry.line for entry in made]
