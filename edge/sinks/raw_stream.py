"""Record the raw stream of a run, so that it can be inspected again, bit for bit."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import BinaryIO

import cv2
from typing_extensions import Self

from edge.cameras.protocol import DroppedFrames, Frame
from edge.cameras.raw_stream import (  # fmt: skip
    ENTRY,
    FORMAT,
    INDEX_NAME,
    Entry,
    RecordedChange,
    RecordedEnd,
    RecordedFrame,
    RecordedTeaching,
    image_path,
)
from edge.core.counted import counted
from edge.core.errors import ConfigError
from edge.core.events import RecordedEvent
from edge.core.files import cannot_write, write_all
from edge.core.image import Image

logger = logging.getLogger(__name__)

LEAST_FREE_BYTES = 1 << 30
"""Recording ends before the disk is full: the roll record needs the rest."""


class Recording:
    """Store each frame before it is inspected, where frames were dropped, where rolls changed, and the end.

    Images are stored raw, the index says what belongs to each and names no image that is not whole.
    When there is no space left recording ends with an event, and inspection goes on.

    Args:
        folder: new or empty.
        camera: what to call the camera in the index.
        teaches: whether the run learns articles by itself.
        knew: whether it begins with one that was learnt so before.
    """

    def __init__(self, folder: Path, camera: str, *, teaches: bool = False, knew: bool = False) -> None:
        self._folder = folder
        self._camera = camera
        self._about = {"teaches": teaches, "knew": knew}
        self._index: BinaryIO | None = None
        self._events: list[RecordedEvent] = []
        self._frames = self._lines = 0

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if any(self._folder.iterdir()):
                raise ConfigError(f"--record {self._folder} is not empty.", "Name a new folder.")
            self._index = (self._folder / INDEX_NAME).open("xb", buffering=0)
            head = {"format": FORMAT, "camera": self._camera, **self._about}
            self._write(json.dumps(head).encode())
        except OSError as error:
            raise cannot_write(self._folder, error) from error
        return self

    def __exit__(self, *error: object) -> None:
        if self._index is not None:
            self._index.close()
        self._index = None
        frames = counted(self._frames, "frame")
        logger.info("%s recorded; to inspect again: --camera %s", frames, self._folder)

    def add(self, frame: Frame) -> None:
        """Store a frame."""
        if self._index is None:
            return
        path = image_path(self._folder, frame.frame_id, is_grey=frame.image.ndim == 2)
        try:
            if shutil.disk_usage(self._folder).free < LEAST_FREE_BYTES + frame.image.nbytes:
                self._end("less than 1 GiB is free")
                return
            path.parent.mkdir(exist_ok=True)
            size_bytes = path.write_bytes(_encoded(frame.image, path.suffix))
            self._write(ENTRY.dump_json(_entry(frame, path.relative_to(self._folder), size_bytes)))
        except OSError as error:
            self._end(error.strerror or str(error))
        else:
            self._frames += 1
            self._lines += len(frame.image)

    def missed(self, dropped: DroppedFrames) -> None:
        """Note that frames were dropped here."""
        self._note(dropped)

    def changed(self, change: RecordedChange) -> None:
        """Note that somebody asked for the next roll here."""
        self._note(change)

    def taught(self, step: RecordedTeaching) -> None:
        """Note what happened to the teaching of an article."""
        self._note(step)

    def ended(self, inspected_lines: int) -> None:
        """Note that a limit ended the run, where lines that are kept were not inspected any more."""
        if inspected_lines < self._lines:
            self._note(RecordedEnd(inspected_lines))

    def events(self) -> list[RecordedEvent]:
        """Return, once, that recording ended before the run did; see `edge.core.events.Reporter`."""
        events, self._events = self._events, []
        return events

    def _note(self, entry: Entry) -> None:
        try:
            self._write(ENTRY.dump_json(entry))
        except OSError as error:
            self._end(error.strerror or str(error))

    def _write(self, line: bytes) -> None:
        if self._index is not None:
            write_all(self._index, line + b"\n")

    def _end(self, why: str) -> None:
        """End the recording and say so; what it holds stays whole, an index line cut off does no harm."""
        if self._index is not None:
            self._index.close()
            self._index = None
        detail = f"{self._folder}: {why}; {counted(self._frames, 'frame')} recorded"
        logger.error("recording ended: %s. Inspection goes on.", detail)
        self._events.append(RecordedEvent("recording ended", detail))


def _entry(frame: Frame, image: Path, image_bytes: int) -> RecordedFrame:
    return RecordedFrame(
        frame.frame_id,
        image.as_posix(),
        image_bytes,
        frame.source,
        frame.position,
        frame.mm_per_px,
        frame.follows_on,
        frame.missing_before,
        frame.counter,
    )


def _encoded(image: Image, suffix: str) -> bytes:
    done, data = cv2.imencode(suffix, image)
    if not done:
        raise ValueError(f"OpenCV cannot encode {image.shape} as {suffix}")
    return data.tobytes()
