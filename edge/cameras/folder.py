"""A folder of pictures, or a single picture, replayed as a camera."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from edge.cameras.protocol import Frame, FramePosition
from edge.errors import CameraNotFoundError, ImageError, NoImagesError
from edge.image import Image, image_from_array

logger = logging.getLogger(__name__)

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm"})

CURE = "Replace or remove the file."


def read_picture(path: Path, bit_depth: int = 16) -> Image:
    """Read one picture file whole, or not at all.

    OpenCV returns the readable part of a truncated JPEG or PNG as if it were complete, so the end marker is
    checked here.

    Args:
        path: any format OpenCV reads; 8 or 16 bits; grey, colour, with or without alpha.
        bit_depth: significant bits of 16-bit values.
    Raises:
        ImageError: if it cannot be read, is truncated, or is no picture.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"Cannot read {path}: {error}.", CURE) from error
    if _is_truncated(data):
        raise ImageError(f"{path} is truncated.", CURE)
    return image_from_array(_decoded(data, path), str(path), bit_depth)


def list_pictures(folder: Path) -> list[Path]:
    """Return the picture files of a folder, sorted by name.

    Raises:
        CameraNotFoundError: if the folder cannot be read.
        NoImagesError: if there is none.
    """
    try:
        pictures = sorted(
            p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file()
        )
    except OSError as error:
        raise CameraNotFoundError(
            f"Cannot read the folder {folder}: {error.strerror or error}.",
            "Check that this user may read and enter it (`ls -ld`), and that its disk or share is there.",
        ) from error
    if not pictures:
        raise NoImagesError(
            f"The folder {folder} holds no pictures.", f"Expected {', '.join(sorted(PICTURE_SUFFIXES))}."
        )
    return pictures


def picture_files(folder: Path) -> list[Path]:
    """List the picture files in a folder and in the folders below it, sorted by path."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file())


class FolderCamera:
    """Deliver the pictures of a folder in the order of their names, each once.

    Pictures may differ in size. With a known scale they are taken as consecutive pieces of one roll.

    Args:
        path: a folder, or one picture.
        mm_per_px: scale on the cloth; None if not known.
        bit_depth: significant bits of 16-bit pictures.
    """

    is_live = False

    def __init__(self, path: Path, mm_per_px: float | None = None, bit_depth: int = 16) -> None:
        self.name = str(path)
        self._path = path
        self._mm_per_px = mm_per_px
        self._bit_depth = bit_depth
        self._pictures: list[Path] = []
        self._next = 0
        self._along_m = 0.0

    def __enter__(self) -> Self:
        if not self._path.exists():
            raise CameraNotFoundError(f"There is no file or folder {self._path}.", "Check the path.")
        self._pictures = list_pictures(self._path) if self._path.is_dir() else [self._path]
        self._next = 0
        self._along_m = 0.0
        return self

    def __exit__(self, *error: object) -> None:
        self._pictures = []

    def read(self) -> Frame | None:
        """Return the next picture; see `Camera.read`."""
        if self._next >= len(self._pictures):
            return None
        frame_id = self._next
        self._next += 1
        path = self._pictures[frame_id]
        image = read_picture(path, self._bit_depth)
        return Frame(frame_id, image, time.monotonic(), path.name, self._place(image))

    def _place(self, image: Image) -> FramePosition | None:
        if self._mm_per_px is None:
            return None
        position = FramePosition(self._along_m, self._mm_per_px, self._mm_per_px)
        self._along_m += image.shape[0] * self._mm_per_px / 1000
        return position


def _decoded(data: bytes, path: Path) -> NDArray[Any]:
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_UNCHANGED
    try:
        array = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:  # for instance a header that claims more pixels than OpenCV takes
        raise ImageError(f"{path} cannot be decoded ({error.err or error}).", CURE) from error
    if array is None:
        raise ImageError(f"{path} is not a picture that can be read.", CURE)
    return array


def _is_truncated(data: bytes) -> bool:
    """Tell whether a JPEG or PNG lacks its end (other formats are left to the decoder).

    What follows the end, zeros or a camera maker's trailer, is no matter.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return data.find(b"\xff\xd9", _jpeg_scan_start(data)) < 0
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return not _png_has_end(data)
    return False


def _jpeg_scan_start(data: bytes) -> int:
    """Return where the coded picture of a JPEG begins, behind its segments; its length if there is none.

    A thumbnail inside a segment has an end marker of its own. In the coded data each 0xFF is followed by a
    zero or a restart marker (ITU-T T.81, B.1.1.5), so FFD9 behind this place is the end of the picture.
    """
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xDA:
            return place
        place += 1 if marker == 0xFF else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return len(data)


def _png_has_end(data: bytes) -> bool:
    """Walk the chunks of a PNG (length, name, data, checksum) up to the one that ends it."""
    place = 8
    while place + 8 <= len(data):
        if data[place + 4 : place + 8] == b"IEND":
            return True
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    return False
