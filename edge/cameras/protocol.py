"""Define the protocol of a camera: a context manager that delivers frames until there are no more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, Protocol, get_args

from typing_extensions import Self

from edge.core.counted import counted
from edge.core.errors import CameraLostError
from edge.core.image import Image

if TYPE_CHECKING:
    from edge.cameras.health import HealthSource
    from edge.cameras.loom import LoomCamera
    from edge.cameras.raw_stream import RecordedCamera

GapReason = Literal["overrun", "lost lines", "camera down", "unreadable", "no cloth", "lamp"]
"""Why cloth was not inspected: our queue was full; the position jumped; the camera was away; the image
could not be read; there was no cloth; there was no light to see by."""


GAP_REASONS: Final[tuple[GapReason, ...]] = get_args(GapReason)


class CutShortError(CameraLostError):
    """A recording ended well before as many frames as it declares: that cloth passed and was not seen.

    Args:
        frames_missing: how many, for the coverage.
    """

    def __init__(self, problem: str, cure: str, frames_missing: int) -> None:
        super().__init__(problem, cure)
        self.frames_missing = frames_missing


class CameraHungError(CameraLostError):
    """A call into the library of a camera did not come back; the process it was made in is gone."""


class NoFrameYetError(Exception):
    """Say that no frame came within a moment, so that a reader can look about; the next read goes on.

    A camera that is paced by the cloth raises it while the loom stands: it is alive and has nothing.
    """


@dataclass(frozen=True, slots=True)
class FramePosition:
    """Place a frame on the roll. Image row 0 lies at `along_m`; rows grow with the roll.

    Attributes:
        along_m: metres from the start of the roll to the upper edge of the frame.
        mm_per_px_along: millimetres of cloth per image row.
        mm_per_px_across: millimetres of cloth per image column.
        left_selvedge_px, right_selvedge_px: columns of the edges of the cloth, frame pixels, outside the
            frame where the edge is out of view; None if not known.
    """

    along_m: float
    mm_per_px_along: float
    mm_per_px_across: float
    left_selvedge_px: float | None = None
    right_selvedge_px: float | None = None

    @property
    def first_line(self) -> int:
        """Number of the line of cloth, from the start of the roll, that image row 0 shows."""
        return round(self.along_m * 1000 / self.mm_per_px_along)


@dataclass(frozen=True, slots=True)
class Frame:
    """Hold one image from a camera.

    Attributes:
        frame_id: counts from 0 in the order of capture; a dropped frame leaves a hole.
        image: (H, W) grey or (H, W, 3) BGR, uint8.
        monotonic_s: `time.monotonic()` when the frame was complete.
        source: name of the file the frame came from, or of the camera.
        position: where on the roll the frame lies; None if the camera does not know.
        mm_per_px: millimetres of cloth per column, for a camera that knows its scale but not its position.
        follows_on: True if row 0 is the next line of cloth after the last row of the frame before: a block
            of a line-scan camera.
        missing_before: why cloth between the frame before and this one is missing, if any is. Frames that
            the capture queue dropped are told apart from it.
        counter: the device's own count of frames; None if it has none. Images alike under different
            counts are images of cloth that stands still.
    """

    frame_id: int
    image: Image
    monotonic_s: float
    source: str
    position: FramePosition | None = None
    mm_per_px: float | None = None
    follows_on: bool = False
    missing_before: GapReason = "lost lines"
    counter: int | None = None

    @property
    def mm_per_px_across(self) -> float | None:
        """Millimetres of cloth per column; None if neither position nor scale is known."""
        return self.position.mm_per_px_across if self.position else self.mm_per_px

    def at_offset(self, offset_mm: float) -> Frame:
        """Return the frame of a camera whose left edge of view lies so far from the left selvedge."""
        if self.position is None:
            return self
        left_px = -offset_mm / self.position.mm_per_px_across
        return replace(self, position=replace(self.position, left_selvedge_px=left_px))


@dataclass(slots=True)
class DroppedFrames:
    """Consecutive frames that nobody looked at.

    Attributes:
        frames: how many.
        position: of the first line; None if the camera does not know.
        lines: how many.
        last_frame_id: of the last frame.
        missing_before: why cloth before the first of them is missing, if any is.
    """

    frames: int
    position: FramePosition | None
    lines: int
    last_frame_id: int
    missing_before: GapReason = "lost lines"


class MissedFramesError(Exception):
    """Say that frames passed here unseen when this was recorded; the next read goes on behind them."""

    def __init__(self, dropped: DroppedFrames) -> None:
        super().__init__(f"{counted(dropped.frames, 'frame')} dropped")
        self.dropped = dropped


Reopening = Literal["never", "same", "new"]
"""What becomes of a live camera that fails: the run ends; it is entered again; a new one is built."""


class Camera(Protocol):
    """Deliver frames. Entering opens the device, leaving releases it whatever happened.

    A camera inherits from it what it does not say about itself.

    Attributes:
        name: what to call this camera in a message.
        is_live: True if frames are lost when nobody reads them; a file or a folder waits.
        is_endless: whether it never comes to an end by itself, though it is not live.
        is_paced: True for a live camera that gives no frame while the cloth stands.
        starts_again_at_zero: True if its positions begin at 0 whenever it is opened.
        is_prompt: True if its calls come back within a moment, whatever hangs: `start` and `wait_open` then
            take the place of entering it.
        reopening: what becomes of it, if it is live and fails.
        health: tells what happened to a camera that is opened again when it fails; None for others, which
            end the run.
        is_simulated: True if no file and no device is read.
        recording: of a camera that delivers a recorded run: what else was recorded; else None.
        ground_truth: of a simulated roll, if all of it passes the camera; else None.
    """

    name: str
    is_live: bool
    is_endless: bool = False
    is_paced: bool = False
    starts_again_at_zero: bool = False
    is_prompt: bool = False
    reopening: Reopening = "new"
    is_simulated: bool = False
    health: HealthSource | None = None
    recording: RecordedCamera | None = None
    ground_truth: LoomCamera | None = None

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def read(self) -> Frame | None:
        """Return the next frame, or None when the stream has come to its end.

        Raises:
            ImageError: if this one image is unreadable; the next read goes on behind it.
            CameraLostError: if the device stopped delivering.
            NoFrameYetError: if no frame came within a moment; the next read goes on waiting.
            MissedFramesError: if frames were dropped here when this was recorded.
        """
        ...

    def start(self) -> None:
        """Begin to open the camera; it is left as one that was entered."""
        self.__enter__()

    def wait_open(self) -> bool:
        """Wait a moment until a camera that was started is open; False if it is not yet.

        Raises:
            LoomsightError: if it does not open.
        """
        return True

    def ends_with(self, stop: threading.Event) -> None:
        """Wait no longer for the camera to open for the first time once an event is set."""
        return


def frames_of(camera: Camera) -> Iterator[Frame]:
    """Yield the frames of an open camera up to the end of its stream, however long it waits."""
    while True:
        try:
            frame = camera.read()
        except (NoFrameYetError, MissedFramesError):
            continue
        if frame is None:
            return
        yield frame
