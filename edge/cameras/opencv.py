"""Whatever OpenCV opens: a camera by index or device path, a video file, an RTSP or HTTP stream."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType

import cv2
from typing_extensions import Self

from edge.cameras.address import redact_credentials
from edge.cameras.protocol import Frame, FramePosition
from edge.errors import CameraLostError, CameraNotFoundError, FrameSizeError, NoImagesError
from edge.image import image_from_array


class OpenCvCamera:
    """Deliver frames through `cv2.VideoCapture`.

    Args:
        source: camera index, or device path, video file or URL.
        mm_per_px: scale on the cloth; None if not known.
        bit_depth: significant bits of 16-bit frames.
    """

    def __init__(self, source: int | str, mm_per_px: float | None = None, bit_depth: int = 16) -> None:
        self._source = source
        self._is_file = isinstance(source, str) and Path(source).is_file()
        self.name = redact_credentials(str(source))
        self.is_live = not self._is_file
        self._mm_per_px = mm_per_px
        self._bit_depth = bit_depth
        self._capture: cv2.VideoCapture | None = None
        self._shape: tuple[int, ...] | None = None
        self._count = 0

    def __enter__(self) -> Self:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._capture = cv2.VideoCapture(self._source)
        if not self._capture.isOpened():
            self._capture.release()
            self._capture = None
            raise CameraNotFoundError(f"Cannot open the camera {self.name}.", self._cure())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def read(self) -> Frame | None:
        """Return the next frame; see `Camera.read`.

        Raises:
            CameraLostError: if a live camera gives no frame.
            NoImagesError: if a video holds no frame at all.
            FrameSizeError: if a frame has another size than the first.
        """
        if self._capture is None:
            raise CameraLostError(f"The camera {self.name} is closed.", "Open it again.")
        ok, array = self._capture.read()
        if not ok or array is None:
            self._check_end()
            return None
        image = image_from_array(array, self.name, self._bit_depth)
        if self._shape not in (None, image.shape):
            raise FrameSizeError(
                f"{self.name}: frame {self._count} is {image.shape}, the ones before were {self._shape}.",
                "Fix the camera's resolution and start again.",
            )
        self._shape = image.shape
        place = self._place(image.shape[0])
        frame = Frame(self._count, image, time.monotonic(), self._frame_name(), place, self._mm_per_px)
        self._count += 1
        return frame

    def _check_end(self) -> None:
        if self.is_live:
            raise CameraLostError(
                f"The camera {self.name} stopped delivering after {self._count} frames.",
                "Check its cable and power.",
            )
        if self._count == 0:
            raise NoImagesError(f"The video {self.name} holds no frame.", "Check that it was copied whole.")

    def _frame_name(self) -> str:
        return f"{Path(self.name).name}#{self._count}" if self._is_file else self.name

    def _place(self, height_px: int) -> FramePosition | None:
        """Place the frames of a video one behind the other; a live camera does not know its place."""
        if self._mm_per_px is None or self.is_live:
            return None
        along_m = self._count * height_px * self._mm_per_px / 1000
        return FramePosition(along_m, self._mm_per_px, self._mm_per_px)

    def _cure(self) -> str:
        if self._is_file:
            return "The file is empty, damaged or of a format this OpenCV cannot read."
        found = ", ".join(str(path) for path in sorted(Path("/dev").glob("video*"))) or "none"
        return f"Cameras on this box: {found}. Run edge-doctor for more."
