"""Deliver a raw stream that `edge-run --record` stored, again as a camera."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import TypeAdapter
from typing_extensions import Self

from edge.cameras.protocol import (
    Camera,
    DroppedFrames,
    Frame,
    FramePosition,
    GapReason,
    MissedFramesError,
)
from edge.core.errors import CameraNotFoundError, ImageError
from edge.core.image import Image
from edge.core.image_file import read_image
from edge.core.outside_files import open_outside, reason_of

INDEX_NAME = "frames.jsonl"
"""A line that names the recording, then one for each frame, run of frames that were dropped, and change of
roll."""

FORMAT = 4
READABLE = (1, 2, 3, 4)
"""Format 1 knew no changes of roll, format 2 no end at a limit, format 3 no teaching."""

INDEX_BYTES = 16 * 2**30
LINE_BYTES = 2**16
"""Most bytes of an index, which is read line by line, and of a line of it."""

MOST_MM_PER_PX = 1000.0
MOST_ALONG = 1e9
MOST_FRAMES = 2**53
"""Numbers beyond these are damage: metres and pixels along and across, frames and lines."""

CURE = "Record again; what stands before the damage can be replayed with --frames."


@dataclass(frozen=True, slots=True)
class RecordedFrame:
    """Hold a frame of the index: the name of its image in place of the image. See `Frame`."""

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
    """A change of roll that somebody asked for: who, for what, behind which frame. See `RollRequest`.

    Those at a joint are not kept: whoever looks for joints finds them again.
    """

    changed_by: str
    roll: str | None
    article: str | None
    request_id: str
    last_frame_id: int
    knew: bool | None = None


@dataclass(frozen=True, slots=True)
class RecordedEnd:
    """How many lines were inspected before a limit ended the run; those kept behind them were not."""

    inspected_lines: int


TeachingNote = Literal["begin", "cancel", "late"]


@dataclass(frozen=True, slots=True)
class RecordedTeaching:
    """What happened to the teaching of an article behind a frame.

    It began, or was cancelled; or what came of it was due and not there yet: a live camera does not wait.
    """

    teaching: TeachingNote
    last_frame_id: int


Entry = RecordedFrame | DroppedFrames | RecordedChange | RecordedEnd | RecordedTeaching

ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry)
"""How an entry is spelled in the index: as JSON, numbers to the last bit."""


def is_recording(path: Path) -> bool:
    """Tell whether a path is a folder that `edge-run --record` wrote."""
    return (path / INDEX_NAME).is_file()


def image_path(folder: Path, frame_id: int, *, is_grey: bool) -> Path:
    """Return where the image of a frame lies: a thousand in a folder."""
    name = f"{frame_id:09d}.{'pgm' if is_grey else 'ppm'}"
    return folder / f"{frame_id // 1000:06d}" / name


class RecordedCamera(Camera):
    """Deliver the frames of a recording: the same images at the same places, and the same ones dropped.

    Where a roll changed, `on_change` is told, in the place of the change; nobody is told without it. So is
    `on_teaching` of what the recorded run did about an article.

    It ends where a limit ended the run: lines that were kept and not inspected any more are left out.

    A recording that a power cut ended is whole up to there. It waits for its reader, as a folder does.

    Args:
        folder: that holds the recording.
    """

    is_live = False

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self.recording = self
        self.on_change: Callable[[RecordedChange], object] | None = None
        self.on_teaching: Callable[[RecordedTeaching], object] | None = None
        self._folder = folder
        self._lines: Iterator[tuple[int, bytes]] = iter(())
        self._lines_left = math.inf

    def __enter__(self) -> Self:
        self._lines = self._read_index()
        self._lines_left = _inspected_lines(self._folder / INDEX_NAME)
        return self

    def __exit__(self, *error: object) -> None:
        self._lines = iter(())

    def read(self) -> Frame | None:
        """Return the next frame; see `Camera.read`."""
        for number, line in self._lines:
            entry = _entry(self._folder / INDEX_NAME, number, line)
            if isinstance(entry, DroppedFrames):
                raise MissedFramesError(entry)
            if isinstance(entry, RecordedFrame):
                if self._lines_left > 0:
                    return self._inspected(self._frame(entry))
            elif isinstance(entry, RecordedChange) and self.on_change is not None:
                self.on_change(entry)
            elif isinstance(entry, RecordedTeaching) and self.on_teaching is not None:
                self.on_teaching(entry)
        return None

    @property
    def teaches(self) -> bool:
        """Whether the recorded run learnt articles by itself: a replay then learns where that one did."""
        return self._head().get("teaches") is True

    @property
    def knew(self) -> bool:
        """Whether the recorded run began with an article that a run had learnt."""
        return self._head().get("knew") is True

    def _head(self) -> dict[str, Any]:
        path = self._folder / INDEX_NAME
        with open_outside(path, INDEX_BYTES, CameraNotFoundError, CURE) as stream:
            return _checked_head(path, stream.readline(LINE_BYTES))

    def _inspected(self, frame: Frame) -> Frame:
        """Return what of a frame was inspected."""
        lines, height = self._lines_left, len(frame.image)
        self._lines_left -= height
        return frame if height <= lines else replace(frame, image=frame.image[: int(lines)])

    def _frame(self, entry: RecordedFrame) -> Frame:
        return Frame(
            entry.frame_id,
            _image(self._folder / entry.picture, entry.picture_bytes),
            time.monotonic(),
            entry.source,
            entry.position,
            entry.mm_per_px,
            entry.follows_on,
            entry.missing_before,
            entry.counter,
        )

    def _read_index(self) -> Iterator[tuple[int, bytes]]:
        """Yield number and text of the lines behind the head, up to a line that was cut off."""
        path = self._folder / INDEX_NAME
        with open_outside(path, INDEX_BYTES, CameraNotFoundError, CURE) as stream:
            try:
                _checked_head(path, stream.readline(LINE_BYTES))
                number = 1
                while (line := stream.readline(LINE_BYTES)).endswith(b"\n") or len(line) == LINE_BYTES:
                    number += 1
                    yield number, line
            except OSError as error:
                raise CameraNotFoundError(f"Cannot read {path}: {reason_of(error)}.", CURE) from error


def _inspected_lines(path: Path) -> float:
    """Return how many lines were inspected; without end if all that were kept."""
    with open_outside(path, INDEX_BYTES, CameraNotFoundError, CURE) as stream:
        try:
            stream.seek(max(0, path.stat().st_size - LINE_BYTES))
            last = ENTRY.validate_json(stream.read(LINE_BYTES).splitlines()[-1])
        except (OSError, ValueError, IndexError):  # said where the line is read
            return math.inf
    return last.inspected_lines if isinstance(last, RecordedEnd) else math.inf


def _checked_head(path: Path, line: bytes) -> dict[str, Any]:
    try:
        head: dict[str, Any] = json.loads(line)
        found = head["format"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CameraNotFoundError(f"{path} is not the index of a recording.", CURE) from error
    if found not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise CameraNotFoundError(
            f"{path} has format {str(found)[:20]}, and this program reads {known}.",
            "Use the program that made it.",
        )
    return head


def _entry(path: Path, number: int, line: bytes) -> Entry:
    try:
        entry = ENTRY.validate_json(line)
        if isinstance(entry, RecordedFrame | DroppedFrames):
            _check_values(entry)
    except ValueError as error:  # that of pydantic is one, too
        raise ImageError(f"Line {number} of {path} is damaged.", CURE) from error
    return entry


def _check_values(entry: RecordedFrame | DroppedFrames) -> None:
    """Refuse numbers that no camera gives, and an image that is none of the recording's.

    Raises:
        ValueError: if there is one.
    """
    place = entry.position
    scales = [place.mm_per_px_along, place.mm_per_px_across] if place else []
    places = [place.along_m, place.left_selvedge_px, place.right_selvedge_px] if place else []
    if isinstance(entry, RecordedFrame):
        scales += [entry.mm_per_px] if entry.mm_per_px is not None else []
        counts = [entry.frame_id]
        inside = PurePosixPath(entry.picture)
        if inside.is_absolute() or ".." in inside.parts:
            raise ValueError("an image lies outside the recording")
    else:
        counts = [entry.frames, entry.lines, entry.last_frame_id]
    is_plausible = (
        all(0 < scale <= MOST_MM_PER_PX for scale in scales)
        and all(abs(value) <= MOST_ALONG for value in places if value is not None)
        and all(0 <= count <= MOST_FRAMES for count in counts)
    )
    if not is_plausible:
        raise ValueError("a number is out of all proportion")


def _image(path: Path, size_bytes: int) -> Image:
    """Read an image whole: one that grew or shrank is not the one that was recorded."""
    image = read_image(path)
    if path.stat().st_size != size_bytes:
        raise ImageError(f"{path} is truncated.", CURE)
    return image
