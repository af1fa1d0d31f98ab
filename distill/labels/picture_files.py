"""Pictures as labels refer to them: where they lie, how large they are, whether they can be read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import islice, product
from pathlib import Path

import cv2

from edge.cameras.folder import PICTURE_SUFFIXES, read_picture
from edge.errors import DatasetError, ImageError
from edge.image import Image

_LOOKED_FOR = 50
"""So many names are tried in each folder before it is taken not to be the one."""

_JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG frame header (ITU-T T.81, table B.1)."""


def decoded(path: Path) -> Image:
    """Decode a picture whole.

    Raises:
        DatasetError: if it is missing, truncated or no picture.
    """
    try:
        return read_picture(path)
    except ImageError as error:
        raise DatasetError(error.problem, error.cure) from error
    except (cv2.error, ValueError) as error:  # a header that promises more pixels than OpenCV takes
        raise DatasetError(f"{path} cannot be decoded: {error}.", "Replace or remove the file.") from error


def size_hw_px(path: Path) -> tuple[int, int]:
    """Return height and width: from the header of a PNG or JPEG, else by decoding.

    Raises:
        DatasetError: if it is missing or no picture.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(1 << 16)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(f"Cannot read {path}: {reason}.", "Check the path.") from error
    height, width = _header_size_hw_px(head) or (0, 0)
    if height <= 0 or width <= 0:
        height, width = decoded(path).shape[:2]
    return height, width


def content_digest(image: Image) -> str:
    """Return a digest of the pixels: equal for copies, also for those saved in another lossless format."""
    digest = hashlib.sha256(str(image.shape).encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def root_of(file_names: Iterable[str], folders: Iterable[Path]) -> Path:
    """Return the first of the folders in which one of the pictures is; the first of all if none is."""
    candidates = list(folders)
    names = list(islice(file_names, _LOOKED_FOR))
    for folder, name in product(candidates, names):
        if name and is_there(folder / name):
            return folder
    return candidates[0]


def likely_folders(labels: Path, hint: str | None = None) -> list[Path]:
    """Return where the pictures of a label file or folder may lie, the likeliest first.

    Args:
        labels: the file or folder.
        hint: folder that the file names, relative to the folder it lies in.
    """
    folder = labels if labels.is_dir() else labels.parent
    hinted = [folder / hint] if hint else []
    beside = [base / name for base in (folder, folder.parent) for name in ("images", "JPEGImages")]
    return [*hinted, folder, *beside, folder.parent]


def is_there(path: Path) -> bool:
    """Tell whether there is such a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def with_picture_suffix(path: Path) -> Path | None:
    """Return the picture whose name is this one with a suffix; None if there is none."""
    for suffix in sorted(PICTURE_SUFFIXES):
        for spelled in (suffix, suffix.upper()):
            candidate = path.with_name(path.name + spelled)
            if is_there(candidate):
                return candidate
    return None


def _header_size_hw_px(head: bytes) -> tuple[int, int] | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) >= 24:
        return int.from_bytes(head[20:24], "big"), int.from_bytes(head[16:20], "big")
    return _jpeg_size_hw_px(head) if head.startswith(b"\xff\xd8") else None


def _jpeg_size_hw_px(head: bytes) -> tuple[int, int] | None:
    place = 2
    while place + 9 <= len(head) and head[place] == 0xFF:
        marker = head[place + 1]
        if marker in _JPEG_SIZES:
            height, width = (int.from_bytes(head[place + n : place + n + 2], "big") for n in (5, 7))
            return height, width
        place += 2 + int.from_bytes(head[place + 2 : place + 4], "big")
    return None
