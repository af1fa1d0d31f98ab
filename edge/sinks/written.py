"""List the images that a run wrote below a folder: others belong to somebody else."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from edge.core.files import cannot_write, write_all, write_whole

logger = logging.getLogger(__name__)

LIST_NAME: Final = ".written-by-edge-run"
"""In the folder whose images are counted. One line each: bytes, time of writing in ns, path below it."""

LINE: Final = re.compile(rb"(\d{1,15}) (\d{1,20}) ([^\n\0]+)")

CLOCK_STEP_NS: Final = 2_000_000_000
"""File systems keep the time of writing in steps of up to two seconds (FAT)."""


class Written(NamedTuple):
    """A file as it was when it was written: one that differs now was changed by a person, and is theirs."""

    path: Path
    size: int
    mtime_ns: int

    @property
    def is_as_written(self) -> bool:
        """Whether the file is there, and nobody changed it."""
        try:
            found = self.path.lstat()
        except OSError:
            return False
        return found.st_size == self.size and abs(found.st_mtime_ns - self.mtime_ns) <= CLOCK_STEP_NS


class WrittenList:
    """Keep the list beside the images. A line is written before its image has its name: none is forgotten.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / LIST_NAME

    def read(self) -> Iterator[Written]:
        """Yield what was written, the oldest first; lines that are damaged are counted and said.

        Raises:
            OutputError: if the list cannot be read.
        """
        damaged = 0
        try:
            with self._path.open("rb") as stream:
                for line in stream:
                    written = self._parsed(line.rstrip(b"\n"))
                    damaged += written is None
                    if written is not None:
                        yield written
        except FileNotFoundError:
            return
        except OSError as error:
            raise cannot_write(self._path, error) from error
        if damaged:
            logger.warning("%s: damaged lines, whose images stay: %d", self._path, damaged)

    def add(self, path: Path, found: os.stat_result) -> None:
        """Note a file that is about to get its name.

        Raises:
            OSError: if that cannot be written.
        """
        line = self._line(path, found.st_size, found.st_mtime_ns)
        with self._path.open("ab+", buffering=0) as stream:
            end = stream.seek(0, os.SEEK_END)
            if end and os.pread(stream.fileno(), 1, end - 1) != b"\n":  # cut off by a full disk
                line = b"\n" + line
            write_all(stream, line)

    def write(self, kept: Iterable[Written]) -> None:
        """Write the list again.

        Raises:
            OutputError: if it cannot be written; the one before stays.
        """
        lines = (self._line(one.path, one.size, one.mtime_ns) for one in kept)
        write_whole(self._path, b"".join(lines))

    def _line(self, path: Path, size: int, mtime_ns: int) -> bytes:
        return b"%d %d %s\n" % (size, mtime_ns, os.fsencode(path.relative_to(self._root)))

    def _parsed(self, line: bytes) -> Written | None:
        match = LINE.fullmatch(line)
        if match is None:
            return None
        name = Path(os.fsdecode(match[3]))
        if name.is_absolute() or ".." in name.parts:
            return None
        return Written(self._root / name, int(match[1]), int(match[2]))
