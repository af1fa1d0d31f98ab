"""Replay a folder of images, or a single image, as a camera."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from typing_extensions import Self

from edge.cameras.protocol import Camera, Frame, FramePosition
from edge.core.errors import CameraNotFoundError, NoImagesError
from edge.core.image import Image
from edge.core.image_file import read_image
from edge.core.outside_files import files_below

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm"})

OTHER_SUFFIXES = frozenset(
    {".avif", ".dng", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jxl", ".pbm", ".pnm", ".raw"}
)
"""Images that a folder may hold and that are not read: their number is said."""

_NUMBER = re.compile(r"([0-9]+)")
_FRACTION = re.compile(r"[0-9]+\.[0-9]+")


def list_images(folder: Path) -> list[Path]:
    """Return the image files of a folder in the order of the numbers in their names.

    What has the suffix of an image and is none, for instance a link that leads nowhere, is among them: who
    reads it counts it.

    Raises:
        CameraNotFoundError: if the folder cannot be read.
        NoImagesError: if there is none.
    """
    try:
        there = list(folder.iterdir())
        images = in_natural_order(p for p in there if p.suffix.lower() in IMAGE_SUFFIXES and not p.is_dir())
    except OSError as error:
        raise CameraNotFoundError(
            f"Cannot read the folder {folder}: {error.strerror or error}.",
            "Check that this user may read and enter it (`ls -ld`), and that its disk or share is there.",
        ) from error
    if not images:
        raise NoImagesError(
            f"The folder {folder} holds no images.", f"Expected {', '.join(sorted(IMAGE_SUFFIXES))}."
        )
    others = Counter(p.suffix.lower() for p in there if p.suffix.lower() in OTHER_SUFFIXES)
    if others:
        counted = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
        logger.warning("%s also holds images of kinds that are not read: %s", folder, counted)
    return images


def image_files(folder: Path) -> list[Path]:
    """List the image files in a folder and in the folders below it, sorted by path; see `list_images`."""
    return sorted(p for p in files_below(folder) if p.suffix.lower() in IMAGE_SUFFIXES and not p.is_dir())


class FolderCamera(Camera):
    """Deliver the images of a folder in the order of the numbers in their names, each once.

    Images may differ in size. With a known scale they are taken as consecutive pieces of one roll.

    Args:
        path: a folder, or one image.
        mm_per_px: scale on the cloth; None if not known.
        bit_depth: significant bits of 16-bit images.
    """

    is_live = False

    def __init__(self, path: Path, mm_per_px: float | None = None, bit_depth: int | None = None) -> None:
        self.name = str(path)
        self._path = path
        self._mm_per_px = mm_per_px
        self._bit_depth = bit_depth
        self._images: list[Path] = []
        self._next = 0
        self._along_m = 0.0

    def __enter__(self) -> Self:
        if not self._path.exists():
            raise CameraNotFoundError(f"There is no file or folder {self._path}.", "Check the path.")
        self._images = list_images(self._path) if self._path.is_dir() else [self._path]
        self._next = 0
        self._along_m = 0.0
        return self

    def __exit__(self, *error: object) -> None:
        self._images = []

    def read(self) -> Frame | None:
        """Return the next image; see `Camera.read`."""
        if self._next >= len(self._images):
            return None
        frame_id = self._next
        self._next += 1
        path = self._images[frame_id]
        image = read_image(path, self._bit_depth)
        return Frame(frame_id, image, time.monotonic(), path.name, self._place(image))

    def _place(self, image: Image) -> FramePosition | None:
        if self._mm_per_px is None:
            return None
        position = FramePosition(self._along_m, self._mm_per_px, self._mm_per_px)
        self._along_m += image.shape[0] * self._mm_per_px / 1000
        return position


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """Return what names are sorted by: text, number, text and so on; equal numbers by the name itself."""
    parts = _NUMBER.split(name)
    return tuple(int(part) if number % 2 else part for number, part in enumerate(parts)), name


def in_natural_order(files: Iterable[Path]) -> list[Path]:
    """Sort the files of one folder by the numbers in their names, and say where that may not be meant."""
    ordered = sorted(files, key=lambda file: natural_key(file.name))
    for first, second in pairwise(ordered):
        if natural_key(first.name)[0] == natural_key(second.name)[0]:
            logger.warning(
                "%s and %s have the same numbers: nobody can tell which comes first; %s is taken first",
                first.name, second.name, first.name,
            )  # fmt: skip
            return ordered
    _say_if_differs(ordered)
    return ordered


def _say_if_differs(ordered: list[Path]) -> None:
    """Say once if the order of the letters would be another one."""
    swapped = next(((a, b) for a, b in pairwise(ordered) if a.name > b.name), None)
    if swapped is None:
        return
    before, after = swapped
    if _FRACTION.search(before.stem) and _FRACTION.search(after.stem):
        logger.warning(
            "%s is taken before %s: numbers around a dot are taken one by one, not as fractions; "
            "number the files with leading zeros if that is wrong",
            before.name, after.name,
        )  # fmt: skip
    else:
        logger.info("files are taken in the order of their numbers: %s before %s", before.name, after.name)
