"""Show a window with the image and its boxes, for setting up a camera."""

from __future__ import annotations

import os

import cv2
from typing_extensions import Self

from edge.cameras.protocol import Frame
from edge.core.detections import DetectionRecord
from edge.core.errors import OutputError
from edge.core.labelled_boxes import draw_detections

WINDOW = "loomsight"
WIDEST_PX = 1600


class WindowSink:
    """Show each frame, scaled to fit a screen."""

    def __enter__(self) -> Self:
        no_screen = OutputError(
            "There is no screen to show a window on.", "Leave --show away on this device."
        )
        # Qt ends the whole process when it finds no screen: ask before it does.
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise no_screen
        try:
            cv2.namedWindow(WINDOW, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            raise no_screen from error
        return self

    def __exit__(self, *error: object) -> None:
        cv2.destroyAllWindows()

    def write(self, frame: Frame, detections: list[DetectionRecord]) -> None:
        """Show one frame; see `Sink.write`."""
        drawn = draw_detections(frame.image, detections)
        scale = min(1.0, WIDEST_PX / drawn.shape[1])
        cv2.imshow(WINDOW, cv2.resize(drawn, None, fx=scale, fy=scale) if scale < 1 else drawn)
        cv2.waitKey(1)
