"""Keep images on the disk while an article is taught: a metre of cloth takes ten megabytes."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import numpy as np
from typing_extensions import Self

from edge.core.errors import OutputError
from edge.reference.second_look import ReferenceView


class Views(Protocol):
    """Images of clean cloth by number."""

    def view(self, number: int) -> ReferenceView:
        """Return an image."""
        ...


class Spool:
    """Store images in a file without a name, which is gone with the process, however that ends.

    Args:
        folder: on whose disk.
        cure: what to do where that is full.
    """

    def __init__(
        self,
        folder: Path,
        cure: str = "Free space or choose another place for --out; teach from fewer --metres.",
    ) -> None:
        self._folder = folder
        self._cure = cure
        self._places: list[tuple[int, tuple[int, ...], bool, float]] = []

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self._folder)
        except OSError as error:
            raise self._cannot(error) from error
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):  # what a full disk did not take is tried once more, and needed no more
            self._file.close()

    def __len__(self) -> int:
        return len(self._places)

    def add(self, view: ReferenceView) -> int:
        """Store an image with its mask.

        Returns:
            Its number.
        Raises:
            OutputError: if the disk is full.
        """
        try:
            start = self._file.seek(0, 2)
            self._file.write(np.ascontiguousarray(view.image).tobytes())
            if view.is_cloth is not None:
                self._file.write(np.packbits(view.is_cloth).tobytes())
            self._file.flush()
        except OSError as error:
            raise self._cannot(error) from error
        self._places.append((start, view.image.shape, view.is_cloth is not None, view.scale))
        return len(self._places) - 1

    def view(self, number: int) -> ReferenceView:
        """Return an image as it was stored."""
        start, shape, has_mask, scale = self._places[number]
        count, pixels = int(np.prod(shape)), shape[0] * shape[1]
        mask_bytes = -(-pixels // 8) if has_mask else 0
        data = os.pread(self._file.fileno(), count + mask_bytes, start)  # in any thread
        image = np.frombuffer(data, np.uint8, count).reshape(shape)
        is_cloth = None
        if has_mask:
            bits = np.frombuffer(data, np.uint8, offset=count)
            is_cloth = np.unpackbits(bits, count=pixels).reshape(shape[:2]).astype(np.bool_)
        return ReferenceView(image, is_cloth, scale)

    def _cannot(self, error: OSError) -> OutputError:
        return OutputError(
            f"Cannot keep the clean cloth in {self._folder}: {error.strerror or error}.", self._cure
        )
