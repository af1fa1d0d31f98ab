"""Keep the images of a device below a size: the oldest make room for the newest."""

from __future__ import annotations

import logging
import os
import re
from array import array
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edge.core.errors import OutputError
from edge.sinks.written import Written, WrittenList

logger = logging.getLogger(__name__)

ENDINGS: Final = (".png", ".xml", "_boxes.jpg")
"""What follows the number of a frame in the name of an image, or of what belongs to it."""

IMAGE: Final = re.compile(r"(\d{8,13})(\.png|\.xml|_boxes\.jpg)")
OWN_NAMES: Final = re.compile(rf"{IMAGE.pattern}|\.{IMAGE.pattern}-\w+")
"""What this program leaves in a folder of images; the second form after a power cut."""

FOLDER_BITS: Final = 16
MOST_GONE: Final = 4096
"""Places of files that are gone are freed so many at a time."""

NEAR_MISSES: Final = "near"
"""Folder for near misses below that of the images of defects."""


class ImageQuota:
    """Delete the oldest images below a folder when together they are larger than they may be.

    Only images that this program wrote, and nobody changed since, count and go: a list in the folder says
    which those are, whatever others are called. The newest one always stays.

    Args:
        root: the folder; those of earlier runs may lie below it.
        limit_bytes: for all of them together.
        written: the list; None for a folder of one run, which remembers what it wrote.
    """

    def __init__(self, root: Path, limit_bytes: int, written: WrittenList | None = None) -> None:
        self._root = root
        self._limit_bytes = limit_bytes
        self._list = written
        self._files = FilesInOrder()
        self._noted: dict[Path, Written] = {}
        self._total_bytes = 0
        self._gone_from_list = 0
        self.deleted = 0

    def look(self) -> None:
        """Take in what earlier runs wrote below the folder, the oldest first.

        Raises:
            OutputError: if the list cannot be read or written.
        """
        self._files, self._total_bytes, gone = FilesInOrder(), 0, 0
        if self._list is None:
            return
        for written in self._list.read():
            if IMAGE.fullmatch(written.path.name) and written.is_as_written:
                self._files.append(written)
                self._total_bytes += written.size
            else:
                gone += 1
        if gone:
            self._list.write(self._files)

    def note(self, path: Path, found: os.stat_result) -> None:
        """Put an image on the list that is about to get its name.

        Raises:
            OSError: if that cannot be written.
        """
        if self._list is not None:
            self._list.add(path, found)
        self._noted[path] = Written(path, found.st_size, found.st_mtime_ns)

    def added(self, path: Path) -> None:
        """Take in an image that was noted and has its name now, and make room for it."""
        written = self._noted.pop(path)
        self._files.append(written)
        self._total_bytes += written.size
        while self._total_bytes > self._limit_bytes and len(self._files) > 1:
            self._delete(self._files.popleft())
        if self._gone_from_list > max(MOST_GONE, len(self._files)):
            self._shorten()

    def given_up(self, path: Path) -> None:
        """Forget an image that was noted and is not to stay."""
        self._noted.pop(path, None)

    def _delete(self, written: Written) -> None:
        self._total_bytes -= written.size
        self._gone_from_list += 1
        if not written.is_as_written:
            return
        if not self.deleted:
            logger.warning(
                "images in %s take %.1f GB: from now on the oldest are deleted",
                self._root,
                self._limit_bytes / 1e9,
            )
        self.deleted += 1
        path = written.path
        try:
            path.unlink(missing_ok=True)
            if path.parent != self._root and not any(path.parent.iterdir()):
                path.parent.rmdir()
        except OSError as error:
            logger.warning("cannot delete %s: %s", path, error.strerror or error)

    def _shorten(self) -> None:
        """Leave out of the list what is gone."""
        self._gone_from_list = 0
        try:
            if self._list is not None:
                self._list.write(self._files)
        except OutputError as error:
            logger.warning("%s It stays as long as it is.", error)


class FilesInOrder:
    """Remember files as they were written, in order, in 24 bytes each: a device takes images for months."""

    def __init__(self) -> None:
        self._folders: list[Path] = []
        self._folder_ids: dict[Path, int] = {}
        self._strays: deque[Written] = deque()
        self._keys = array("Q")
        self._sizes = array("Q")
        self._times = array("Q")
        self._gone = 0

    def __len__(self) -> int:
        return len(self._strays) + len(self._keys) - self._gone

    def __iter__(self) -> Iterator[Written]:
        yield from self._strays
        yield from (self._at(place) for place in range(self._gone, len(self._keys)))

    def append(self, written: Written) -> None:
        """Add a file; one of the folders beyond the first 65,536 goes before all others."""
        found = IMAGE.fullmatch(written.path.name)
        folder = self._folder_ids.setdefault(written.path.parent, len(self._folders))
        if folder == len(self._folders):
            self._folders.append(written.path.parent)
        if found is None or folder >> FOLDER_BITS:
            self._strays.append(written)
            return
        self._keys.append((int(found[1]) * len(ENDINGS) + ENDINGS.index(found[2])) << FOLDER_BITS | folder)
        self._sizes.append(written.size)
        self._times.append(written.mtime_ns)

    def popleft(self) -> Written:
        """Take out the oldest."""
        if self._strays:
            return self._strays.popleft()
        written = self._at(self._gone)
        self._gone += 1
        if self._gone == MOST_GONE:
            del self._keys[:MOST_GONE], self._sizes[:MOST_GONE], self._times[:MOST_GONE]
            self._gone = 0
        return written

    def _at(self, place: int) -> Written:
        key = self._keys[place]
        folder = self._folders[key & ((1 << FOLDER_BITS) - 1)]
        number, ending = divmod(key >> FOLDER_BITS, len(ENDINGS))
        path = folder / f"{number:08d}{ENDINGS[ending]}"
        return Written(path, self._sizes[place], self._times[place])
