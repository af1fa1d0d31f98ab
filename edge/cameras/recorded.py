"""A raw stream as `edge-run --record` stored it, delivered again as a camera."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from typing_extensions import Self

from edge.cameras.folder import read_picture
from edge.cameras.protocol import DroppedFrames, Frame, FramePosition, MissedFramesError
from edge.cloth.gaps import GapReason
from edge.errors import CameraNotFoundError, ImageError
from edge.image import Image

INDEX_NAME = "frames.jsonl"
"""A line that names the recording, then one for each frame, run of frames that were dropped, and change of
roll."""

FORMAT = 2
READABLE = (1, 2)
"""Format 1 knew no changes of roll."""

CURE = "Record anew; what stands before the damage can be replayed with --frames."


@dataclass(frozen=True, slots=True)
class RecordedFrame:
    """A frame in the index, with the name of its picture in place of the picture. See `Frame`."""

    frame_id: int
    picture: str
    picture_bytes: int
    source: str
    position: FramePosition | None
    mm_per_px: float | None
    follows_on: bool
    missing_before: GapReason
    counter: int | None


@dataclass(frozen=True, slots=True)
class RecordedChange:
    """A change of roll that somebody asked for: who, for what, behind which frame. See `RollWish`.

    Those at a joint are not kept: whoever looks for joints finds them again.
    """

    changed_by: str
    roll: str | None
    article: str | None
    request_id: str
    last_frame_id: int


Entry = RecordedFrame | DroppedFrames | RecordedChange

ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry)
"""How an entry is spelled in the index: as JSON, numbers to the last bit."""


def is_recording(path: Path) -> bool:
    """Tell whether a path is a folder that `edge-run --record` wrote."""
    return (path / INDEX_NAME).is_file()


def picture_path(folder: Path, frame_id: int, *, is_grey: bool) -> Path:
    """Return where the picture of a frame lies: a thousand in a folder."""
    name = f"{frame_id:09d}.{'pgm' if is_grey else 'ppm'}"
    return folder / f"{frame_id // 1000:06d}" / name


class RecordedCamera:
    """Deliver the frames of a recording: the same pictures at the same places, and the same ones dropped.

    Where a roll changed, `on_change` is told, in the place of the change; nobody is told without it.

    A recording that a power cut ended is whole up to there. It waits for its reader, as a folder does.

    Args:
        folder: that holds the recording.
    """

    is_live = False

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self.on_change: Callable[[RecordedChange], object] | None = None
        self._folder = folder
        self._entries: Iterator[Entry] = iter(())

    def __enter__(self) -> Self:
        self._entries = self._read_index()
        return self

    def __exit__(self, *error: object) -> None:
        self._entries = iter(())

    def read(self) -> Frame | None:
        """Return the next frame; see `Camera.read`."""
        entry = next(self._entries, None)
        while isinstance(entry, RecordedChange):
            if self.on_change is not None:
                self.on_change(entry)
            entry = next(self._entries, None)
        if entry is None:
            return None
        if isinstance(entry, DroppedFrames):
            raise MissedFramesError(entry)
        return Frame(
            entry.frame_id,
            _picture(self._folder / entry.picture, entry.picture_bytes),
            time.monotonic(),
            entry.source,
            entry.position,
            entry.mm_per_px,
            entry.follows_on,
            entry.missing_before,
            entry.counter,
        )

    def _read_index(self) -> Iterator[Entry]:
        """Yield what the index holds, up to a line that was cut off."""
        path = self._folder / INDEX_NAME
        try:
            with path.open("rb") as stream:
                _check_head(path, stream.readline())
                for number, line in enumerate(stream, start=2):
                    if not line.endswith(b"\n"):
                        return
                    yield _entry(path, number, line)
        except OSError as error:
            raise CameraNotFoundError(f"Cannot read {path}: {error.strerror or error}.", CURE) from error


def _check_head(path: Path, line: bytes) -> None:
    try:
        found = json.loads(line)["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise CameraNotFoundError(f"{path} is not the index of a recording.", CURE) from error
    if found not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise CameraNotFoundError(
            f"{path} has format {found}, and this program reads {known}.", "Use the program that made it."
        )


def _entry(path: Path, number: int, line: bytes) -> Entry:
    try:
        return ENTRY.validate_json(line)
    except ValidationError as error:
        raise ImageError(f"Line {number} of {path} is damaged.", CURE) from error


def _picture(path: Path, size_bytes: int) -> Image:
    """Read a picture whole: OpenCV makes up what is missing at the end of such a file."""
    image = read_picture(path)
    if path.stat().st_size != size_bytes:
        raise ImageError(f"{path} is truncated.", CURE)
    return image
