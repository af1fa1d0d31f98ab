"""Read single frames of a folder or a video again, after they were inspected: nothing is kept in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2

from edge.cameras.folder import IMAGE_SUFFIXES, list_images
from edge.cameras.raw_stream import is_recording
from edge.core.errors import ImageError
from edge.core.image import Image, image_from_array
from edge.core.image_file import read_image

GONE = "Is the file still there, and the one that was inspected?"


class FramesAgain(Protocol):
    """Give the frames of a camera that has ended, by their `frame_id`."""

    def count(self) -> int:
        """Return how many frames there are.

        Raises:
            LoomsightError: if the camera's files cannot be read any more.
        """
        ...

    def read(self, frame_id: int) -> tuple[Image, str]:
        """Return a frame and what it is called.

        Raises:
            ImageError: if it cannot be read any more.
            LoomsightError: if the camera's files cannot be.
        """
        ...


def frames_again(source: str, bit_depth: int | None = None) -> FramesAgain | None:
    """Return how the frames of a source are read again; None where they cannot be: it is live or simulated.

    Args:
        source: as `choose_camera` takes it.
        bit_depth: significant bits of 16-bit images.
    """
    path = Path(source)
    try:
        if is_recording(path) or not path.exists():
            return None
        if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
            return FolderAgain(path, bit_depth)
        return VideoAgain(path, bit_depth) if path.is_file() else None
    except OSError:
        return None


class FolderAgain:
    """Read the images of a folder again, or a single image."""

    def __init__(self, path: Path, bit_depth: int | None = None) -> None:
        self._path = path
        self._bit_depth = bit_depth
        self._files: list[Path] = []

    def count(self) -> int:
        """Return how many there are; see `FramesAgain`."""
        return len(self._listed())

    def read(self, frame_id: int) -> tuple[Image, str]:
        """Read an image from its file; see `FramesAgain`."""
        files = self._listed()
        if not 0 <= frame_id < len(files):
            raise ImageError(f"{self._path} has no image {frame_id + 1}.", GONE)
        return read_image(files[frame_id], self._bit_depth), files[frame_id].name

    def _listed(self) -> list[Path]:
        """List the files once: numbers of frames hold for the folder as it was inspected."""
        if not self._files:
            self._files = list_images(self._path) if self._path.is_dir() else [self._path]
        return self._files


class VideoAgain:
    """Seek the frames of a video file."""

    def __init__(self, path: Path, bit_depth: int | None = None) -> None:
        self._path = path
        self._bit_depth = bit_depth
        self._capture: cv2.VideoCapture | None = None
        self._next = 0

    def count(self) -> int:
        """Return how many frames the file says it has; see `FramesAgain`."""
        return max(0, int(self._opened().get(cv2.CAP_PROP_FRAME_COUNT)))

    def read(self, frame_id: int) -> tuple[Image, str]:
        """Read a frame; the one behind the last needs no search. See `FramesAgain`."""
        capture = self._opened()
        if frame_id != self._next:
            capture.set(cv2.CAP_PROP_POS_FRAMES, frame_id)
        is_read, array = capture.read()
        self._next = frame_id + 1
        if not is_read:
            self._next = -1
            raise ImageError(f"{self._path.name} gives no frame {frame_id + 1}.", GONE)
        return image_from_array(array, str(self._path), self._bit_depth), f"{self._path.name}#{frame_id}"

    def _opened(self) -> cv2.VideoCapture:
        if self._capture is None:
            self._capture = cv2.VideoCapture(str(self._path))
        return self._capture
