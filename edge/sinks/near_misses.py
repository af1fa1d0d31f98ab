"""Write images of what a little lower threshold would have reported: the best ones to train on next."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from typing_extensions import Self

from edge.cameras.protocol import Frame
from edge.core.detections import DetectionRecord
from edge.core.errors import OutputError
from edge.core.files import write_whole
from edge.core.image import Image
from edge.sinks.images import Note, image_name, write_with
from edge.sinks.quota import ImageQuota

logger = logging.getLogger(__name__)

HOUR_S = 3600.0
RETRY_S = 60.0
"""Near misses that could not be written are left out for so long, then the next one is tried."""


class NearMissSink:
    """Write `00000012.png` and, for LabelImg, `00000012.xml` for frame 12 if it has near misses.

    Nobody waits for these images: what cannot be written is left out, and inspection goes on.

    Args:
        folder: made with the first image; that of the images of defects lies above it.
        quota: shared with the images of defects.
        per_hour: most frames in any hour.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        folder: Path,
        quota: ImageQuota,
        per_hour: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._quota = quota
        self._per_hour = per_hour
        self._clock = clock
        self._written_s: deque[float] = deque(maxlen=per_hour)
        self._next_try_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def write(self, frame: Frame, detections: list[DetectionRecord]) -> None:
        """Keep one frame, if the hour is not full.

        Args:
            frame: as the camera gave it.
            detections: its near misses; without any, nothing is written.
        """
        now_s = self._clock()
        if not detections or now_s < self._next_try_s or self._is_full(now_s):
            return
        try:
            self._write(image_name(frame.frame_id), frame.image, detections)
        except (OutputError, OSError) as error:
            logger.warning("near misses are left out for a minute: %s", error)
            self._next_try_s = now_s + RETRY_S
            return
        self._written_s.append(now_s)

    def _is_full(self, now_s: float) -> bool:
        return len(self._written_s) == self._per_hour and now_s - self._written_s[0] < HOUR_S

    def _write(self, name: str, image: Image, detections: list[DetectionRecord]) -> None:
        """Write image and boxes, or none."""
        self._folder.mkdir(parents=True, exist_ok=True)
        image_path = self._folder / f"{name}.png"

        def write_boxes(path: Path, note: Note) -> None:
            write_whole(path, labelimg_xml(image_path, image, detections), partial(note, path))

        write_with(image_path, image, image_path.with_suffix(".xml"), write_boxes, self._quota)


def labelimg_xml(image_path: Path, image: Image, detections: list[DetectionRecord]) -> bytes:
    """Write boxes as LabelImg reads them (Pascal VOC): a person corrects them and trains on them.

    Args:
        image_path: the file; only its name is written.
        image: (H, W) or (H, W, 3) uint8.
        detections: boxes in its pixels.
    """
    root = Element("annotation")
    SubElement(root, "filename").text = image_path.name
    size = SubElement(root, "size")
    depth = 1 if image.ndim == 2 else image.shape[2]
    for name, number in (("width", image.shape[1]), ("height", image.shape[0]), ("depth", depth)):
        SubElement(size, name).text = str(number)
    for found in detections:
        thing = SubElement(root, "object")
        SubElement(thing, "name").text = found["label"]
        box = SubElement(thing, "bndbox")
        for name, side in zip(("xmin", "ymin", "xmax", "ymax"), found["box_xyxy_px"], strict=True):
            SubElement(box, name).text = str(round(side))
    indent(root, "\t")
    data: bytes = tostring(root, encoding="utf-8")
    return data
