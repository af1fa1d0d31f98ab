"""Open a roll record: checked, locked against a second writer, set aside if it is damaged."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

from edge.core.errors import LoomsightError, OutputError, RecordError
from edge.core.files import cannot_write, check_not_a_folder, is_stream
from edge.roll.schema import APPLICATION_ID, LATER_TABLES, OUTBOX_OF_TODAY, SCHEMA_VERSION, TABLES

logger = logging.getLogger(__name__)

BUSY_MS = 1000
"""How long a write waits for another program that holds the file, before it is kept for later."""

SIDE_FILES = ("-wal", "-shm", "")
"""What belongs to a database, in the order in which it is renamed: a log left beside a new file would be
played into it."""

DAMAGE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged file raises; the second where SQLite quotes in its message what is damaged."""

DAMAGED_WORDS = ("malformed", "not a database", "disk I/O error")
"""What SQLite says of a file that is damaged, or was cut off, while it is open."""


PASSING_WORDS = ("is full", "is locked")
"""What SQLite says of what may work later: the disk is full, another program writes."""


def roll_back(connection: sqlite3.Connection) -> None:
    """Take back what a transaction has started, if there is one.

    Raises:
        sqlite3.Error: if that does not work now.
    """
    if connection.in_transaction:
        connection.execute("ROLLBACK")


class RecordFile:
    """Hold a roll record open for writing; only one program at a time does.

    A damaged file is set aside as `name.1`, `name.2`, … and a new one started.

    Args:
        path: of the database; made if it is not there.
        again: set aside whatever is there, sound or not, and begin a new one.
    Attributes:
        connection: in autocommit mode; a commit is on the disk when it returns.
        set_aside: where a damaged file was put; None if there was none.
    Raises:
        OutputError: if the file or its folder cannot be written.
        RecordError: if it belongs to another program or a newer version, or is in use.
    """

    def __init__(self, path: Path, *, again: bool = False) -> None:
        self.path = path
        self.set_aside: Path | None = None
        self._again = again
        check_not_a_folder(path)
        if is_stream(path):
            raise RecordError(f"{path} is no file.", "Name a file for the roll record.")
        self._lock = _locked(path)
        try:
            self.connection = self._open()
            self._identity = _identity(path)
        except BaseException:
            self._lock.close()
            raise

    def close(self) -> None:
        """Close the file and let others write."""
        self.connection.close()
        self.unlock()

    def unlock(self) -> None:
        """Let others write, while what was written can still be read here."""
        self._lock.close()

    @property
    def is_in_place(self) -> bool:
        """Whether the path still leads to the file that is written."""
        return _identity(self.path) == self._identity

    def leave(self) -> None:
        """Close a file that is no longer in its place, whole by itself wherever it is now."""
        with suppress(*DAMAGE_ERRORS):
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with suppress(*DAMAGE_ERRORS):
            self.connection.close()
        self._lock.close()

    def wait_for_others(self, most_ms: int = BUSY_MS) -> None:
        """Set how long a write waits for another program that holds the file; not doing so is no harm."""
        try:
            self.connection.execute(f"PRAGMA busy_timeout = {most_ms}")
        except sqlite3.Error as error:
            logger.debug("the patience with other programs stays as it is: %s", error)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Make all changes of the block together, or none of them."""
        roll_back(self.connection)  # one that could not be taken back would be in the way for ever
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                roll_back(self.connection)
            raise

    def _open(self) -> sqlite3.Connection:
        try:
            if self._again:
                if any(os.path.lexists(f"{self.path}{side}") for side in SIDE_FILES):
                    self.set_aside = _set_aside(self.path)
            elif self.path.exists() and self.path.stat().st_size and not _is_sound(self.path):
                self.set_aside = _set_aside(self.path)
                logger.warning(
                    "%s is damaged: it is now %s, and a new record is started",
                    self.path,
                    self.set_aside.name,
                )
            return _prepared(self.path)
        except DAMAGE_ERRORS as error:
            self._put_back()
            raise described(self.path, error) from error
        except OSError as error:
            self._put_back()
            raise cannot_write(self.path, error) from error

    def take_back(self) -> None:
        """Remove a new record that holds nothing yet, and give what stood there its name again."""
        self.connection.close()
        with suppress(OSError):
            _remove(self.path)
        self._put_back()
        self.unlock()

    def _put_back(self) -> None:
        """Give what was set aside its name again: tries that fail leave no further files."""
        aside, self.set_aside = self.set_aside, None
        if aside is None:
            return
        with suppress(OSError):
            _remove(self.path)
            _rename(aside, self.path)


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open a roll record to look at, while another program may be writing it.

    Raises:
        RecordError: if it is missing, damaged, of another program or a newer version.
    """
    if not path.is_file():
        raise RecordError(f"There is no roll record {path}.", "Name the file of `edge-run --roll-record`.")
    try:
        for mode in ("mode=ro", "immutable=1"):  # the second for a file in a folder nobody may write
            connection = sqlite3.connect(f"file:{quote(str(path.resolve()))}?{mode}", uri=True)
            connection.row_factory = sqlite3.Row
            try:
                _check_version(path, connection)
                return connection
            except sqlite3.OperationalError:
                connection.close()
                if mode == "immutable=1" or path.with_name(f"{path.name}-wal").exists():
                    raise
            except BaseException:
                connection.close()
                raise
    except DAMAGE_ERRORS as error:
        raise unreadable(path, error) from error
    raise AssertionError("unreachable")


def unreadable(path: Path, error: Exception) -> RecordError:
    """Say in one line what keeps a record from being read."""
    return RecordError(
        f"{path} cannot be read as a roll record: {error}.",
        "Name another file; edge-run sets a damaged one aside when it starts.",
    )


def belongs_to(path: Path, record: Path) -> bool:
    """Tell whether a path is a file, or one of those that SQLite or the lock keeps beside it."""
    own = [Path(f"{record}{side}") for side in (*SIDE_FILES, ".lock")]
    return os.path.realpath(path) in [os.path.realpath(one) for one in own]


def is_damage(error: Exception) -> bool:
    """Tell whether an error says that the file itself is damaged, and will be at the next try."""
    message = str(error)
    return not isinstance(error, sqlite3.Error) or any(word in message for word in DAMAGED_WORDS)


def is_for_a_while(error: Exception) -> bool:
    """Tell whether an error says that the disk is full, or another program writes: later it may work."""
    return isinstance(error, sqlite3.Error) and any(word in str(error) for word in PASSING_WORDS)


def described(path: Path, error: Exception) -> LoomsightError:
    """Say in one line what keeps a record from being written."""
    message = str(error) if isinstance(error, sqlite3.Error) else "it is damaged"
    if "locked" in message or "busy" in message:
        return RecordError(f"{path} is in use by another program.", "Close that one, or name another file.")
    return OutputError(
        f"Cannot write the roll record {path}: {message}.", "Check its permissions and the free space."
    )


def _locked(path: Path) -> IO[bytes]:
    """Take the lock beside a record. It is a file of its own: closing the database would free SQLite's."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f"{path.name}.lock").open("ab")
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise RecordError(
            f"Another edge-run is writing the roll record {path}.", "Name another file for this one."
        ) from error
    return lock


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.text_factory = as_text
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    return connection


def as_text(stored: bytes) -> str:
    """Return text of a record; a byte that is damaged costs a letter, not the run."""
    return stored.decode("utf-8", errors="replace")


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from any other; None if it is not there, or was emptied."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found.st_size else None


def _is_sound(path: Path) -> bool:
    """Check a file that is there.

    Returns:
        False if it is damaged or no database.
    Raises:
        RecordError: if it belongs to another program or a newer version.
        sqlite3.OperationalError: if it cannot be opened, or is locked.
    """
    with closing(_connect(path)) as connection:
        try:
            result = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            _check_version(path, connection)
        except sqlite3.OperationalError:
            raise
        except DAMAGE_ERRORS:
            return False
    return bool(result == "ok")


def _check_version(path: Path, connection: sqlite3.Connection) -> None:
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if not tables:
        return
    if application != APPLICATION_ID:
        raise RecordError(f"{path} is the database of another program.", "Name another file.")
    if version > SCHEMA_VERSION:
        raise RecordError(
            f"{path} was written by a newer loomsight ({version}; this one knows {SCHEMA_VERSION}).",
            "Update loomsight on this device, or name another file.",
        )


def _prepared(path: Path) -> sqlite3.Connection:
    """Open a sound or new file for writing: write-ahead log, synced with every commit."""
    connection = _connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE")
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            for statement in TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        for statement in (*_outbox_changes(connection), *LATER_TABLES):
            connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _outbox_changes(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Return what gives the outbox of an older program the origins of today; nothing if it has them."""
    query = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = 'outbox'"
    row = connection.execute(query).fetchone()
    return () if row is None or "'verdict'" in row[0] else OUTBOX_OF_TODAY


def _set_aside(path: Path) -> Path:
    number = 1
    while any(os.path.lexists(f"{path}.{number}{side}") for side in SIDE_FILES):
        number += 1
    aside = path.with_name(f"{path.name}.{number}")
    _rename(path, aside)
    return aside


def _rename(path: Path, new: Path) -> None:
    """Rename a database with what belongs to it."""
    for side in SIDE_FILES:
        if os.path.lexists(f"{path}{side}"):
            Path(f"{path}{side}").rename(f"{new}{side}")


def _remove(path: Path) -> None:
    """Remove a database with what belongs to it."""
    for side in reversed(SIDE_FILES):
        Path(f"{path}{side}").unlink(missing_ok=True)
