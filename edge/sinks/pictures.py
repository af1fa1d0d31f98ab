"""Pictures of frames with defects: as the camera gave them, and with the boxes drawn in."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Final

import cv2
import numpy as np
from typing_extensions import Self

from edge.cameras.protocol import Frame
from edge.detections import DetectionRecord
from edge.image import Image
from edge.sinks.files import cannot_write, set_aside, write_whole

BOX_COLOURS_BGR: Final = ((66, 135, 245), (80, 200, 90), (70, 70, 235), (220, 160, 60), (200, 90, 200))


def draw_detections(image: Image, detections: list[DetectionRecord]) -> Image:
    """Draw boxes with class and score.

    Args:
        image: (H, W) grey or (H, W, 3) BGR, uint8; left as it is.
        detections: boxes in pixels of this image.
    Returns:
        (H, W, 3) uint8, BGR.
    """
    drawn = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image.copy()
    labels = sorted({found["label"] for found in detections})
    for found in detections:
        colour = BOX_COLOURS_BGR[labels.index(found["label"]) % len(BOX_COLOURS_BGR)]
        left, top, right, bottom = (round(side) for side in found["box_xyxy_px"])
        cv2.rectangle(drawn, (left - 3, top - 3), (right + 3, bottom + 3), colour, 2)
        text = f"{found['label']} {found['score']:.2f}"
        cv2.putText(
            drawn, text, (left, max(14, top - 8)), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA
        )
    return np.asarray(drawn, np.uint8)


class PictureSink:
    """Write `00000012.png` and `00000012_boxes.jpg` for frame 12 if it has detections."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        if self._folder.is_dir() and any(self._folder.iterdir()):
            set_aside(self._folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self._folder, error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def write(self, frame: Frame, detections: list[DetectionRecord]) -> None:
        """Record one frame; see `Sink.write`."""
        if not detections:
            return
        name = f"{frame.frame_id:08d}"
        write_picture(self._folder / f"{name}.png", frame.image)
        write_picture(self._folder / f"{name}_boxes.jpg", draw_detections(frame.image, detections))


def write_picture(path: Path, image: Image) -> None:
    """Write a picture in the form its suffix names, whole or not at all.

    Raises:
        OutputError: if it cannot be written.
    """
    ok, data = cv2.imencode(path.suffix, image)
    if not ok:
        raise ValueError(f"OpenCV cannot encode {image.shape} as {path.suffix}")
    write_whole(path, data.tobytes())
