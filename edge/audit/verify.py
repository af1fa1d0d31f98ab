"""Verify an audit log: every change, deletion, insertion, move and cut is found, and its entry named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edge.audit.entry import FILE_REMOVED, LOG_DAMAGED, START, AuditEntry, Head, head_of
from edge.audit.reading import Line, lines_of

MOST_PROBLEMS: Final = 1000


@dataclass(slots=True)
class Verification:
    """Say what became of a log.

    Attributes:
        entries: that were read.
        head: the last one; None if there is none.
        problems: what is wrong, each with the entry that it is about, in the order of the log.
        remarks: what is worth knowing, and not wrong.
        anchors: heads kept elsewhere that were compared.
    """

    entries: int = 0
    head: Head | None = None
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    anchors: int = 0

    def tell(self, problem: str) -> None:
        """Note what is wrong; of very much, the first."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)


def verify_log(path: Path, anchors: Mapping[str, Iterable[Head]] | None = None) -> Verification:
    """Read a log from its first entry to its last, and compare it with what was kept elsewhere.

    Args:
        path: of the log.
        anchors: heads of the chain at earlier moments, by the name of the place that kept them.
    Raises:
        AuditError: if there is no such log, or it cannot be read.
    """
    found, chain = Verification(), _Chain()
    for line in lines_of(path):
        _judge(line, chain, found)
    found.head = chain.last if found.entries else None
    _check_start(chain, found)
    for place, heads in (anchors or {}).items():
        _check_anchors(place, heads, chain, found)
    return found


@dataclass(slots=True)
class _Chain:
    """Hold how far a log was read, and the digest of each entry by its number."""

    last: Head = START
    first: AuditEntry | None = None
    digests: dict[int, str] = field(default_factory=dict)
    removed: set[Head] = field(default_factory=set)


def _judge(line: Line, chain: _Chain, found: Verification) -> None:
    where = f"{line.file.name}, line {line.number}"
    entry = line.entry
    if entry is None:
        behind = f"behind entry {chain.last.number}"
        what = "is no entry" if line.is_ended else "is unfinished: cut short by a kill, or by hand"
        found.tell(f"{where}: what stands {behind} {what}.")
        return
    found.entries += 1
    if not entry.is_whole:
        found.tell(f"Entry {entry.number} was changed ({where}): its digest is not that of what it says.")
    if chain.first is None:
        chain.first = entry
    else:
        _check_order(entry, chain, where, found)
    _note_own(entry, chain, found)
    chain.last = entry.head
    chain.digests.setdefault(entry.number, entry.digest)


def _check_order(entry: AuditEntry, chain: _Chain, where: str, found: Verification) -> None:
    """Compare an entry with the one before it."""
    last, number = chain.last, entry.number
    if number > last.number + 1:
        found.tell(f"{_entries(last.number + 1, number - 1)} missing before entry {number} ({where}).")
    elif number <= last.number:
        found.tell(f"Entry {number} stands behind entry {last.number} ({where}): inserted, or moved.")
    elif entry.before != last.digest:
        found.tell(
            f"Entry {number} does not follow entry {last.number} ({where}): one of them was replaced."
        )


def _note_own(entry: AuditEntry, chain: _Chain, found: Verification) -> None:
    """Take in what an entry says of the log itself."""
    if entry.kind == FILE_REMOVED:
        head = head_of(str(entry.data.get("last")))
        if head is not None:
            chain.removed.add(head)
        found.remarks.append(
            f"Entry {entry.number}: the file {entry.data.get('file')} was removed by the settings."
        )
    if entry.kind == LOG_DAMAGED:
        found.tell(f"Entry {entry.number} says that the log had been changed: {entry.data}.")


def _check_start(chain: _Chain, found: Verification) -> None:
    """See that a log begins with its first entry, or behind what its own entries say was removed."""
    first = chain.first
    if first is None:
        found.tell("The log has no entry.")
        return
    before = Head(first.number - 1, first.before)
    if before != START and before not in chain.removed:
        missing = _entries(1, first.number - 1) if first.number > 1 else "Entries are"
        found.tell(
            f"{missing} missing before entry {first.number}, and no entry says that they were removed."
        )


def _check_anchors(place: str, heads: Iterable[Head], chain: _Chain, found: Verification) -> None:
    """Compare the log with the heads that a place kept: what they name must stand there."""
    first = chain.first.number if chain.first else 1
    for head in heads:
        found.anchors += 1
        digest = chain.digests.get(head.number)
        if digest == head.digest or head == START:
            continue
        if digest is not None:
            found.tell(f"Entry {head.number} is another one than {place} saw: the log was written again.")
        elif head.number > chain.last.number:
            found.tell(
                f"The log ends with entry {chain.last.number}, and {place} saw entry {head.number}:"
                " its end was cut off."
            )
        elif head.number >= first:
            found.tell(f"Entry {head.number}, which {place} saw, is missing.")


def _entries(first: int, last: int) -> str:
    return f"Entry {first} is" if first == last else f"Entries {first} to {last} are"
