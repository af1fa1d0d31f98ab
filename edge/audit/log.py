"""Append to the audit log: each entry is on the disk before this returns, whoever else writes there."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from edge.audit.entry import (
    FILE_REMOVED,
    LOG_CONTINUED,
    LOG_DAMAGED,
    LOG_MENDED,
    LOG_STARTED,
    START,
    THE_LOG,
    AuditEntry,
    Head,
    Note,
    chained,
)
from edge.audit.files import End, archive_name, archives, end_of, first_head, holds, lock_of
from edge.core.errors import OutputError
from edge.core.events import new_id
from edge.core.files import file_digest, sync_folder
from edge.core.outside_files import reason_of

logger = logging.getLogger(__name__)

MOST_BYTES: Final = 16 * 2**20
KEEP_FILES: Final = 64
PATIENCE_S: Final = 5.0
LOOK_S: Final = 0.01
MODE: Final = 0o640


class AuditLog:
    """Write a log, beside other programs that write it. Not for two threads at once.

    What a kill or a power failure left unfinished is cut off. Where entries are missing that are known to
    have been there, the chain goes on behind the known one: the gap can be seen, and an entry tells of it.

    Args:
        path: of the log; made if it is not there.
        most_bytes: a file that has grown to this gets another name, and a new one continues the chain.
        keep_files: such files that are kept; the oldest goes when an entry has attested what it was.
        known: the newest entry that is known from elsewhere.
    """

    def __init__(
        self,
        path: Path,
        *,
        most_bytes: int = MOST_BYTES,
        keep_files: int = KEEP_FILES,
        known: Head = START,
    ) -> None:
        self.path = path
        self._most_bytes = most_bytes
        self._keep_files = keep_files
        self._known = known
        self._last: tuple[int, int, bytes] | None = None

    @property
    def head(self) -> Head | None:
        """The newest entry known; None before the first."""
        return self._known if self._known != START else None

    @property
    def has_written(self) -> bool:
        """Whether an entry was written here."""
        return self._last is not None

    def look(self) -> None:
        """Take in entries of other programs behind the own ones, if they can be read now."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return
        try:
            entry = end_of(descriptor).entry
        except OSError:
            return
        finally:
            os.close(descriptor)
        if entry is not None and entry.number > self._known.number:
            self._known = entry.head

    def append(self, notes: Sequence[Note]) -> Head:
        """Append entries; they are on the disk when this returns, all or none.

        Returns:
            The last of them.
        Raises:
            OutputError: if they cannot be written: the disk is full, or another program holds the log.
        """
        try:
            with _locked(self.path):
                return self._append(notes)
        except OSError as error:
            raise OutputError(
                f"Cannot write the audit log {self.path}: {reason_of(error)}.",
                "Check its permissions and the free space.",
            ) from error

    def _append(self, notes: Sequence[Note]) -> Head:
        self._rotate_if_full()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, MODE)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OutputError(f"The audit log {self.path} is no regular file.", "Name another file.")
            end = end_of(descriptor)
            _give_to_owner_of_folder(descriptor, self.path.parent)
            before, own, removed = self._start(end)
            before, own = self._checked(descriptor, end, before, own)
            if end.size > end.damaged_to:
                os.ftruncate(descriptor, end.damaged_to)
            entries = _chain([*own, *notes], before)
            _write(descriptor, end.damaged_to, b"".join(entry.line for entry in entries))
            self._note_written(descriptor, entries[-1])
        finally:
            os.close(descriptor)
        if not end.size:
            sync_folder(self.path.parent)
        for archive in removed:
            archive.unlink(missing_ok=True)
        return entries[-1].head

    def _rotate_if_full(self) -> None:
        """Give a full file another name; a kill right behind this leaves no file of the log's name."""
        try:
            is_full = self.path.stat().st_size >= self._most_bytes
        except FileNotFoundError:
            return
        if is_full:
            first = first_head(self.path)
            self.path.rename(archive_name(self.path, first.number + 1 if first else 1))
            self._last = None

    def _start(self, end: End) -> tuple[Head, list[Note], list[Path]]:
        """Return what the next entry follows, what the log has to note of itself, and files that may go."""
        if end.entry is not None:
            return end.entry.head, [], []
        older = archives(self.path)
        if not older:
            return START, [_own(LOG_STARTED, log_id=new_id())] if not end.size else [], []
        with older[-1].open("rb") as stream:
            last = end_of(stream.fileno()).entry
        removed = older[: max(0, len(older) - self._keep_files)]
        notes = [_own(LOG_CONTINUED, after=older[-1].name), *map(_attested, removed)]
        return last.head if last else START, notes, removed

    def _checked(self, descriptor: int, end: End, before: Head, own: list[Note]) -> tuple[Head, list[Note]]:
        """Compare what is there with what is known to have been there."""
        known, notes = self._known, list(own)
        if end.size > end.damaged_to:
            notes.append(_own(LOG_MENDED, bytes=end.size - end.damaged_to))
        if end.damaged_to > end.end:
            notes.append(_own(LOG_DAMAGED, unreadable_bytes=end.damaged_to - end.end))
        if known.number > before.number:
            notes.append(_own(LOG_DAMAGED, missing_up_to=str(known), found=str(before)))
            before = known
        elif (known.number == before.number and known != before) or not self._is_in_place(descriptor):
            notes.append(_own(LOG_DAMAGED, known=str(known), found=str(before)))
        for note in notes:
            if note.kind == LOG_DAMAGED:
                logger.error("the audit log %s was changed: %s", self.path, note.data)
        return before, notes

    def _is_in_place(self, descriptor: int) -> bool:
        """Tell whether the last own entry stands where it was written, or in a file that is full by now."""
        if self._last is None:
            return True
        inode, end, line = self._last
        if os.fstat(descriptor).st_ino == inode:
            return holds(descriptor, end, line)
        return any(one.stat().st_ino == inode for one in archives(self.path))

    def _note_written(self, descriptor: int, entry: AuditEntry) -> None:
        status = os.fstat(descriptor)
        self._known, self._last = entry.head, (status.st_ino, status.st_size, entry.line)


def _own(kind: str, **data: Any) -> Note:
    return Note(THE_LOG, kind, data)


def _attested(archive: Path) -> Note:
    """Return the entry that says what a file was that is about to be removed."""
    first = first_head(archive)
    with archive.open("rb") as stream:
        last = end_of(stream.fileno()).entry
    return _own(
        FILE_REMOVED,
        file=archive.name,
        after=str(first) if first else None,
        last=str(last.head) if last else None,
        sha256=file_digest(archive),
    )


def _chain(notes: Sequence[Note], before: Head) -> list[AuditEntry]:
    entries = []
    for note in notes:
        entries.append(chained(note, before))
        before = entries[-1].head
    return entries


def _write(descriptor: int, size: int, data: bytes) -> None:
    """Write behind what is there, and sync; what could be written in part only is taken back."""
    try:
        written = 0
        while written < len(data):
            written += os.write(descriptor, data[written:])
        os.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            os.ftruncate(descriptor, size)
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other programs from writing meanwhile; the lock ends with the process.

    Raises:
        OutputError: if another one holds it for long.
        OSError: if the lock cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with lock_of(path).open("ab") as lock:
        _give_to_owner_of_folder(lock.fileno(), path.parent)
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline_s:
                    raise OutputError(
                        f"Another program holds the audit log {path}.", "End that one."
                    ) from error
            time.sleep(LOOK_S)
        yield


def _give_to_owner_of_folder(descriptor: int, folder: Path) -> None:
    """Let the user of the service write what root made: commands of root write the log, too."""
    status = folder.stat()
    if os.geteuid() == 0 and os.fstat(descriptor).st_size == 0 and status.st_uid:
        os.fchown(descriptor, status.st_uid, status.st_gid)
