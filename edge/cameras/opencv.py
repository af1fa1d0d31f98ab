"""Read whatever OpenCV opens: a camera by index or device path, a video file, an RTSP or HTTP stream."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import cv2
from numpy.typing import NDArray
from typing_extensions import Self

from edge.cameras.frame_size import check_same_size
from edge.cameras.protocol import Camera, CutShortError, Frame, FramePosition
from edge.core.address import redact_credentials
from edge.core.counted import counted
from edge.core.errors import CameraLostError, CameraNotFoundError, NoImagesError
from edge.core.image import image_from_array

MISSING_FRACTION = 0.02
"""A video that lacks at most this fraction of the frames it declares is taken as whole. AVI, MP4 and MOV
count their frames; Matroska, WebM and FLV state a duration, perhaps a sound track's, and the count is only
duration x rate. Measured: whole AVI, MP4, MOV, MKV, WebM and FLV written by OpenCV 5.0 lack none."""

MISSING_FRAMES = 3
"""Nor do so few frames count, in a video too short for the fraction to say anything."""

MOST_DECLARED = 10**9
"""A count beyond this is none: OpenCV gives -9e18 for a stream of bare JPEGs."""


class OpenCvCamera(Camera):
    """Deliver frames through `cv2.VideoCapture`.

    Args:
        source: camera index, or device path, video file or URL.
        mm_per_px: scale on the cloth; None if not known.
        bit_depth: significant bits of 16-bit frames.
    """

    def __init__(
        self, source: int | str, mm_per_px: float | None = None, bit_depth: int | None = None
    ) -> None:
        self._source = source
        self._is_file = isinstance(source, str) and _is_file(source)
        self.name = redact_credentials(str(source))
        self.is_live = not self._is_file
        self._mm_per_px = mm_per_px
        self._bit_depth = bit_depth
        self._device: GuardedCapture | None = None
        self._shape: tuple[int, ...] | None = None
        self._count = 0
        self._reached_ms = 0.0

    def __enter__(self) -> Self:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        capture = self._open()
        if not capture.isOpened():
            capture.release()
            raise CameraNotFoundError(f"Cannot open the camera {self.name}.", self._cure())
        self._device = GuardedCapture(capture)
        return self

    def __exit__(self, *error: object) -> None:
        if self._device is not None:
            self._device.close()
            self._device = None

    def read(self) -> Frame | None:
        """Return the next frame; see `Camera.read`.

        Raises:
            CameraLostError: if a live camera gives no frame.
            CutShortError: if a video ends well before the number of frames it declares.
            NoImagesError: if a video holds no frame at all.
            FrameSizeError: if a frame has another size than the first.
        """
        device = self._device
        if device is None:
            raise CameraLostError(f"The camera {self.name} is closed.", "Open it again.")
        array, time_ms = device.read()
        if array is None:
            self._check_end(device)
            return None
        frame_id = self._count
        self._count += 1
        self._reached_ms = max(self._reached_ms, time_ms)
        image = image_from_array(array, self.name, self._bit_depth)
        check_same_size(image.shape, self._shape, f"{self.name}: frame {frame_id}")
        self._shape = image.shape
        place = self._place(frame_id, image.shape[0])
        return Frame(frame_id, image, time.monotonic(), self._frame_name(frame_id), place, self._mm_per_px)

    def _open(self) -> cv2.VideoCapture:
        return cv2.VideoCapture(self._source)

    def _check_end(self, device: GuardedCapture) -> None:
        if self.is_live:
            raise CameraLostError(
                f"The camera {self.name} stopped delivering after {counted(self._count, 'frame')}.",
                "Check its cable and power.",
            )
        if self._count == 0:
            raise NoImagesError(f"The video {self.name} holds no frame.", "Check that it was copied whole.")
        declared = device.get(cv2.CAP_PROP_FRAME_COUNT)
        missing = frames_missing(declared, device.get(cv2.CAP_PROP_FPS), self._count, self._reached_ms)
        if missing:
            raise CutShortError(
                f"The video {self.name} ends after {self._count} of the {declared:.0f} frames it declares: "
                "it was not recorded or copied whole.",
                "Copy it again; what was inspected stays recorded.",
                missing,
            )

    def _frame_name(self, frame_id: int) -> str:
        return f"{Path(self.name).name}#{frame_id}" if self._is_file else self.name

    def _place(self, frame_id: int, height_px: int) -> FramePosition | None:
        """Place the frames of a video one behind the other; a live camera does not know its place."""
        if self._mm_per_px is None or self.is_live:
            return None
        along_m = frame_id * height_px * self._mm_per_px / 1000
        return FramePosition(along_m, self._mm_per_px, self._mm_per_px)

    def _cure(self) -> str:
        if self._is_file:
            return "The file is empty, damaged or of a format this OpenCV cannot read."
        found = ", ".join(str(path) for path in sorted(Path("/dev").glob("video*"))) or "none"
        return f"Cameras on this device: {found}. Run edge-doctor for more."


def frames_missing(declared: float, rate_hz: float, delivered: int, reached_ms: float) -> int:
    """Tell how many frames a video clearly lacks at its end.

    A video of varying rate, or one with empty frames, holds fewer frames than it declares and is whole all
    the same: its last frame's time then reaches the end. So it is cut short only if both fall short.

    Args:
        declared: frames by the container's own account, which may be an estimate or nonsense.
        rate_hz: frames per second by the same account.
        delivered: frames that were read.
        reached_ms: time of the last one.
    Returns:
        0 for a whole video, for a shortfall within the tolerance, and where the container declares nothing.
    """
    if not 0 < declared < MOST_DECLARED:
        return 0
    by_time = round(reached_ms / 1000 * rate_hz) + 1 if 0 < rate_hz < MOST_DECLARED else 0
    missing = int(declared) - max(delivered, by_time)
    return missing if missing > max(MISSING_FRAMES, MISSING_FRACTION * declared) else 0


def _is_file(source: str) -> bool:
    try:
        return Path(source).is_file()
    except OSError:  # an address may be longer than any file name
        return False


class GuardedCapture:
    """Keep `release` away from a running `read`: freed under a reading thread, OpenCV ends the process.

    Reads come from one thread. `close` may come from another; it does not wait for a read that hangs:
    the reading thread then releases the device when the read comes back.

    Args:
        capture: opened; from here on only this object touches it.
    """

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture: cv2.VideoCapture | None = capture
        self._busy = threading.Lock()
        self._closing = False

    def read(self) -> tuple[NDArray[Any] | None, float]:
        """Return the next frame and its time in the stream.

        Returns:
            The frame as OpenCV gives it, or None; milliseconds, 0 where the source knows no time.
        """
        with self._busy:
            if self._capture is None:
                return None, 0.0
            ok, array = self._capture.read()
            time_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC) if ok else 0.0
        if self._closing:
            self._release_if_idle()
        return (array if ok else None), time_ms

    def get(self, property_id: int) -> float:
        """Return a property, 0 once closed."""
        with self._busy:
            return self._capture.get(property_id) if self._capture is not None else 0.0

    def close(self) -> None:
        """Release the device now, or let the read that is under way do it."""
        self._closing = True  # before the attempt: a read that ends in between sees it
        self._release_if_idle()

    def _release_if_idle(self) -> None:
        if not self._busy.acquire(blocking=False):
            return
        try:
            if self._capture is not None:
                self._capture.release()
                self._capture = None
        finally:
            self._busy.release()
