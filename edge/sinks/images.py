"""Write images of frames with defects: as the camera gave them, and with the boxes drawn in."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
from typing_extensions import Self

from edge.cameras.protocol import Frame
from edge.core.counted import counted
from edge.core.detections import DetectionRecord
from edge.core.errors import OutputError
from edge.core.events import RecordedEvent
from edge.core.files import cannot_write, rename_aside, write_whole
from edge.core.image import Image
from edge.core.labelled_boxes import draw_detections
from edge.sinks.quota import NEAR_MISSES, OWN_NAMES, ImageQuota

logger = logging.getLogger(__name__)

RETRY_S = 5.0
"""Images that could not be written are left out for so long, then the next one is tried."""


class ImageSink:
    """Write `00000012.png` and `00000012_boxes.jpg` for frame 12 if it has detections.

    A folder with images of an earlier run is renamed first. Beside a roll record images may be missing:
    when one cannot be written, inspection goes on, and `events` tells of it. Without a record they are all
    there is, and the run ends.

    Args:
        folder: of this run.
        quota: says when the oldest have to go.
        may_miss: whether there is a record beside them.
    """

    def __init__(self, folder: Path, quota: ImageQuota, *, may_miss: bool = False) -> None:
        self._folder = folder
        self._quota = quota
        self._may_miss = may_miss
        self._missed = 0
        self._next_try_s = 0.0
        self._events: list[RecordedEvent] = []

    def __enter__(self) -> Self:
        check_image_folder(self._folder)
        try:
            if self._folder.is_dir() and any(self._folder.iterdir()):
                rename_aside(self._folder)
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self._folder, error) from error
        self._quota.look()
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def write(self, frame: Frame, detections: list[DetectionRecord]) -> None:
        """Record one frame; see `Sink.write`."""
        if not detections:
            return
        if self._missed and time.monotonic() < self._next_try_s:
            self._missed += 1
            return
        try:
            self._write(image_name(frame.frame_id), frame.image, detections)
        except OutputError as error:
            if not self._may_miss:
                raise
            self._note_missed(error)
        else:
            self._note_written()

    def events(self) -> list[RecordedEvent]:
        """Return, once, what happened since the last call."""
        events, self._events = self._events, []
        return events

    def _write(self, name: str, image: Image, detections: list[DetectionRecord]) -> None:
        """Write both images, or none."""

        def draw(path: Path, note: Note) -> None:
            write_image(path, draw_detections(image, detections), note)

        drawn = self._folder / f"{name}_boxes.jpg"
        write_with(self._folder / f"{name}.png", image, drawn, draw, self._quota)

    def _note_missed(self, error: OutputError) -> None:
        if not self._missed:
            logger.error("%s Inspection goes on without images.", error)
            self._events.append(RecordedEvent("images not written", error.problem))
        self._missed += 1
        self._next_try_s = time.monotonic() + RETRY_S

    def _note_written(self) -> None:
        if self._missed:
            missing = f"those of {counted(self._missed, 'frame')} are missing"
            logger.info("images can be written again; %s", missing)
            self._events.append(RecordedEvent("images written again", missing))
        self._missed = 0


def image_name(frame_id: int) -> str:
    """Return the name of a frame's images, without what follows it."""
    return f"{frame_id:08d}"


def check_image_folder(folder: Path) -> None:
    """See that a folder for images is new, empty, or one that only this program wrote in.

    Raises:
        OutputError: if it holds anything else, is no folder, or would have to be renamed while this program
            runs in it.
    """
    cure = "Name a new folder for the images."
    try:
        if not folder.exists():
            return
        if not folder.is_dir():
            raise OutputError(f"{folder} is not a folder.", cure)
        names = [entry.name for entry in folder.iterdir()]
        is_here = Path.cwd().is_relative_to(folder.resolve())
    except OSError as error:
        raise cannot_write(folder, error) from error
    foreign = sorted(name for name in names if name != NEAR_MISSES and not OWN_NAMES.fullmatch(name))
    if foreign:
        raise OutputError(f"{folder} holds {foreign[0]}, which is no image of an earlier run.", cure)
    if names and is_here:
        raise OutputError(f"{folder} holds images and cannot be renamed: this program runs in it.", cure)


Note = Callable[[Path, os.stat_result], None]
"""Is told of a file just before it has its name; see `ImageQuota.note`."""


def write_with(
    path: Path,
    image: Image,
    beside: Path,
    write_beside: Callable[[Path, Note], None],
    quota: ImageQuota,
) -> None:
    """Write an image and what belongs to it, or none of them.

    Args:
        path, image: the image.
        beside: what belongs to it; `write_beside` writes it.
        quota: both count in it.
    Raises:
        OutputError: if one of them cannot be written.
    """
    write_image(path, image, quota.note)
    try:
        write_beside(beside, quota.note)
    except OutputError:
        path.unlink(missing_ok=True)
        quota.given_up(path)
        raise
    quota.added(path)
    quota.added(beside)


def write_image(path: Path, image: Image, note: Note = lambda path, found: None) -> None:
    """Write an image in the form its suffix names, whole or not at all.

    Raises:
        OutputError: if it cannot be written.
    """
    ok, data = cv2.imencode(path.suffix, image)
    if not ok:
        raise ValueError(f"OpenCV cannot encode {image.shape} as {path.suffix}")
    write_whole(path, data.tobytes(), partial(note, path))
