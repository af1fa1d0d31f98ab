"""Write files so that a final name never holds half a file and nothing recorded is lost; digest them.

Devices, pipes and the descriptors of this process (/dev/null, a FIFO, /dev/stdout) are streams here: they
are written in place, never renamed, replaced or cut.
"""

from __future__ import annotations

import glob
import hashlib
import logging
import os
import re
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from edge.core.errors import OutputError

logger = logging.getLogger(__name__)

MOST_LINKS = 40
"""Symbolic links followed one after the other, as Linux does."""


def write_whole(
    path: Path,
    data: bytes,
    before_naming: Callable[[os.stat_result], None] = lambda _: None,
    *,
    is_private: bool = False,
) -> None:
    """Write a file under a temporary name, sync it and rename it; a stream is written in place.

    Args:
        is_private: only its owner may read it.
        before_naming: called with the file as it is, just before it gets its name.
    Raises:
        OutputError: if it cannot be written; a file of that name that was there before stays.
    """
    if is_stream(path):
        _write_in_place(path, data)
        return
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as stream:
            temporary = Path(stream.name)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o600 if is_private else 0o666 & ~_umask())
        before_naming(temporary.stat())
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise cannot_write(path, error) from error


def remove_partial(path: Path) -> None:
    """Remove what a `write_whole` of this file left that was killed; another one must not be under way.

    Raises:
        OutputError: if it cannot be removed.
    """
    for partial in path.parent.glob(f".{glob.escape(path.name)}-????????"):
        try:
            partial.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from error


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk.

    Raises:
        OSError: if that fails.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    """Return what this process keeps from others: a file gets the rights that any program gives it."""
    try:  # os.umask() would have to change it to read it, for all threads
        found = re.search(r"^Umask:\s*([0-7]+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return int(found[1], 8) if found else 0o022


def check_writable(folder: Path) -> None:
    """Make a folder and see whether files can be written in it, before hours of work depend on it.

    Raises:
        OutputError: if not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(folder, error) from error


def check_not_a_folder(path: Path) -> None:
    """See that no folder stands where a file is to be written.

    Raises:
        OutputError: if one does.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder.", "Name a file.")


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Say that a path cannot be written and what to do about it."""
    return OutputError(
        f"Cannot write {path}: {error.strerror or error}.", "Check the path and the free space."
    )


def set_aside(path: Path) -> None:
    """Rename a file of an earlier run to `name.1`, `name.2`, ...: a new run overwrites nothing.

    Raises:
        OutputError: if a folder stands there, or the file cannot be renamed.
    """
    check_not_a_folder(path)
    if path.exists() and not is_stream(path):
        rename_aside(path)


def rename_aside(path: Path) -> None:
    """Give what stands at a path the first free name of `name.1`, `name.2`, ...

    Raises:
        OutputError: if it cannot be renamed.
    """
    number = 1
    while True:
        aside = path.with_name(f"{path.name}.{number}")
        try:
            if not os.path.lexists(aside):
                rename_without_replacing(path, aside)
                break
        except FileExistsError:  # another run has just taken that name
            pass
        except OSError as error:
            raise cannot_write(aside, error) from error
        number += 1
    logger.info("%s of an earlier run is now %s", path.name, aside.name)


def rename_without_replacing(path: Path, aside: Path) -> None:
    """Rename a file in two steps, of which the first fails where the name is taken.

    Raises:
        FileExistsError: if it is.
        OSError: if it cannot be renamed.
    """
    if path.is_dir() and not path.is_symlink():  # the system itself replaces no folder that holds anything
        path.rename(aside)
        return
    try:
        os.link(path, aside, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        path.rename(aside)
    else:
        path.unlink()


def is_stream(path: Path) -> bool:
    """Tell whether a path leads to a device, a pipe or a descriptor of this process."""
    if _own_descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def open_stream(path: Path) -> BinaryIO:
    """Open a stream for writing, unbuffered; a descriptor of this process keeps its place in its file.

    Raises:
        OSError: if it cannot be opened.
    """
    own = _own_descriptor(path)
    return os.fdopen(os.open(path, os.O_WRONLY) if own is None else os.dup(own), "wb", buffering=0)


def write_all(stream: BinaryIO, data: bytes) -> None:
    """Write to an unbuffered stream until all is written.

    Raises:
        OSError: if it cannot be written.
    """
    written = 0
    while written < len(data):
        written += stream.write(data[written:])


def _write_in_place(path: Path, data: bytes) -> None:
    try:
        with open_stream(path) as stream:
            write_all(stream, data)
    except OSError as error:
        raise cannot_write(path, error) from error


def _own_descriptor(path: Path) -> int | None:
    """Return the descriptor that /dev/stdout, /dev/fd/3 and their like lead to; None for anything else.

    What it is open on does not matter: with `> file` it is a regular file, and yet not ours to rename.
    """
    own = Path(os.path.realpath("/proc/self/fd"))
    for _ in range(MOST_LINKS):
        path = Path(os.path.realpath(path.parent)) / path.name
        if path.parent == own and path.name.isdigit():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None


def file_digest(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return stream_digest(stream)


def stream_digest(stream: BinaryIO) -> str:
    """Return the sha256 of what is left of a stream as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for block in iter(lambda: stream.read(1 << 20), b""):
        digest.update(block)
    return digest.hexdigest()
