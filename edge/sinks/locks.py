"""Lock a run's outputs against a second program: two would rename and delete each other's files."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge.core.errors import OutputError
from edge.core.files import cannot_write, is_stream

logger = logging.getLogger(__name__)


@contextmanager
def folder_locked(folder: Path) -> Iterator[None]:
    """Keep others out of a folder, which is made if it is not there; the lock ends with the process.

    Raises:
        OutputError: if another program holds it, or it cannot be made.
    """
    with lock_handed_on(folder):
        yield


@contextmanager
def lock_handed_on(folder: Path) -> Iterator[int]:
    """Lock a folder for a process that is started meanwhile, which then has the lock to its own end.

    Yields:
        The descriptor, for `pass_fds`.
    Raises:
        OutputError: if another program holds it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        _lock(descriptor, folder)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def file_locked(path: Path) -> Iterator[None]:
    """Keep others from writing a file, by a hidden file beside it that goes with the lock.

    A device or pipe is left to whoever opens it.

    Raises:
        OutputError: if another program holds it, or its folder cannot be written.
    """
    if is_stream(path):
        yield
        return
    name = path.with_name(f".{path.name}.lock")
    descriptor = _own_lock_file(name, path)
    try:
        yield
    finally:
        with suppress(OSError):
            name.unlink()
        os.close(descriptor)


def _own_lock_file(name: Path, path: Path) -> int:
    """Open and lock the file under a name, again where another one has taken it away meanwhile."""
    while True:
        try:
            name.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise cannot_write(path, error) from error
        try:
            _lock(descriptor, path)
            if _is_called(name, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the one before has taken it away with its own lock


def _is_called(name: Path, descriptor: int) -> bool:
    """Tell whether a name leads to an open file; another program may take it away at any time."""
    try:
        return os.path.samestat(name.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(
            f"Another program is writing {path}.", "Give each run a place of its own, or end the other one."
        ) from error
    except OSError as error:
        logger.debug("%s cannot be locked on this file system: %s", path, error)
