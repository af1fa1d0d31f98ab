"""Keeping the pictures of a box below a size: the oldest make room for the newest."""

from __future__ import annotations

import logging
import re
from array import array
from collections import deque
from pathlib import Path
from typing import Final

from edge.sinks.files import cannot_write

logger = logging.getLogger(__name__)

ENDINGS: Final = (".png", ".xml", "_boxes.jpg")
"""What follows the number of a frame in the name of a picture, or of what belongs to it."""

PICTURE: Final = re.compile(r"(\d{8,13})(\.png|\.xml|_boxes\.jpg)")
OWN_NAMES: Final = re.compile(rf"{PICTURE.pattern}|\.{PICTURE.pattern}-\w+")
"""What this program leaves in a folder of pictures; the second form after a power cut."""

FOLDER_BITS: Final = 16
MOST_GONE: Final = 4096
"""Places of files that are gone are freed so many at a time."""

NEAR_MISSES: Final = "near"
"""Folder for near misses below that of the pictures of defects."""


class PictureQuota:
    """Delete the oldest pictures below a folder when together they are larger than they may be.

    Only pictures that this program wrote count and go. The newest one always stays.

    Args:
        root: the folder; those of earlier runs may lie below it.
        limit_bytes: for all of them together.
    """

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self._root = root
        self._limit_bytes = limit_bytes
        self._files = FilesInOrder()
        self._total_bytes = 0
        self.deleted = 0

    def look(self) -> None:
        """Take in what lies below the folder, the oldest first.

        Raises:
            OutputError: if it cannot be read.
        """
        try:
            names = [path for path in self._root.rglob("*") if OWN_NAMES.fullmatch(path.name)]
            found = sorted((*_age_and_size(path), path) for path in names)
        except OSError as error:
            raise cannot_write(self._root, error) from error
        self._files = FilesInOrder()
        for _, size, path in found:
            self._files.append(path, size)
        self._total_bytes = sum(size for _, size, _ in found)

    def added(self, path: Path) -> None:
        """Take in a picture that was just written, and make room for it."""
        _, size = _age_and_size(path)
        self._files.append(path, size)
        self._total_bytes += size
        while self._total_bytes > self._limit_bytes and len(self._files) > 1:
            self._delete(*self._files.popleft())

    def _delete(self, path: Path, size: int) -> None:
        self._total_bytes -= size
        if not self.deleted:
            logger.warning(
                "pictures in %s take %.1f GB: from now on the oldest are deleted",
                self._root,
                self._limit_bytes / 1e9,
            )
        self.deleted += 1
        try:
            path.unlink(missing_ok=True)
            if path.parent != self._root and not any(path.parent.iterdir()):
                path.parent.rmdir()
        except OSError as error:
            logger.warning("cannot delete %s: %s", path, error.strerror or error)


class FilesInOrder:
    """Remember files and their sizes, in order, in 16 bytes each: a box takes pictures for months."""

    def __init__(self) -> None:
        self._folders: list[Path] = []
        self._folder_ids: dict[Path, int] = {}
        self._strays: deque[tuple[Path, int]] = deque()
        self._keys = array("Q")
        self._sizes = array("Q")
        self._gone = 0

    def __len__(self) -> int:
        return len(self._strays) + len(self._keys) - self._gone

    def append(self, path: Path, size: int) -> None:
        """Add a file; what a power cut left goes first, whenever it was written."""
        found = PICTURE.fullmatch(path.name)
        folder = self._folder_ids.setdefault(path.parent, len(self._folders))
        if folder == len(self._folders):
            self._folders.append(path.parent)
        if found is None or folder >> FOLDER_BITS:
            self._strays.append((path, size))
            return
        self._keys.append((int(found[1]) * len(ENDINGS) + ENDINGS.index(found[2])) << FOLDER_BITS | folder)
        self._sizes.append(size)

    def popleft(self) -> tuple[Path, int]:
        """Take out the oldest."""
        if self._strays:
            return self._strays.popleft()
        key, size = self._keys[self._gone], self._sizes[self._gone]
        self._gone += 1
        if self._gone == MOST_GONE:
            del self._keys[:MOST_GONE], self._sizes[:MOST_GONE]
            self._gone = 0
        folder = self._folders[key & ((1 << FOLDER_BITS) - 1)]
        number, ending = divmod(key >> FOLDER_BITS, len(ENDINGS))
        return folder / f"{number:08d}{ENDINGS[ending]}", size


def _age_and_size(path: Path) -> tuple[int, int]:
    """Return when a file was written, in ns, and its bytes; zeros if another run has just deleted it."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size
