"""Put a camera above a simulated loom: line-scan or area, as fast as read or at the pace of the cloth."""

from __future__ import annotations

import time
from collections.abc import Callable

from typing_extensions import Self

from edge.cameras.protocol import Camera, Frame, FramePosition, Reopening
from edge.core.errors import CameraNotFoundError
from edge.core.taxonomy import Taxonomy
from edge.simulator.ground_truth import PlantedDefect, SeenDefect
from edge.simulator.joints import PlantedJoint
from edge.simulator.loom import Loom
from edge.simulator.options import LoomOptions, parse_loom_options

__all__ = ["LoomCamera", "parse_loom_options"]


class LoomCamera(Camera):
    """Image a simulated roll. Satisfies `edge.cameras.protocol.Camera`.

    A line-scan camera gives blocks of lines without gap or overlap. An area camera gives images that
    overlap, or leave a gap, as its rate and the speed of the cloth have it. A live camera waits until the
    cloth of a frame has passed; frames that nobody fetched in time are not lost but come late.

    Args:
        options: what to weave and how to look at it.
        taxonomy: gives each category of defect its class; None for the shipped one.
        clock: seconds of a clock that never steps.
        sleep: waits for so many seconds.

    Attributes:
        name: what to call this camera in a message.
        is_live: True if it keeps the pace of the cloth.
        options: as given.
    """

    is_simulated = True
    reopening: Reopening = "never"

    def __init__(
        self,
        options: LoomOptions,
        taxonomy: Taxonomy | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.options = options
        self.name = f"loom:seed={options.seed}"
        self.is_live = options.live
        self.is_endless = options.length_m is None
        self.is_paced = options.scan == "line"
        self.ground_truth = self
        self._taxonomy = taxonomy
        self._clock = clock
        self._sleep = sleep
        self._loom: Loom | None = None
        self._frame_id = 0
        self._started_s: float | None = None

    def __enter__(self) -> Self:
        self._frame_id = 0
        self._started_s = None
        self._loom = Loom(self.options, self._taxonomy)
        return self

    def __exit__(self, *error: object) -> None:
        self._loom = None

    @property
    def lines_hz(self) -> float:
        """Lines of cloth that pass the camera in a second."""
        return self.options.lines_hz

    @property
    def loom(self) -> Loom:
        """The loom under the camera.

        Raises:
            CameraNotFoundError: if the camera is not open.
        """
        if self._loom is None:
            raise CameraNotFoundError(f"{self.name} is not open.", "Use it in a with statement.")
        return self._loom

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end of the roll.

        Raises:
            CameraNotFoundError: if the camera is not open.
        """
        loom = self.loom
        first_line, count = self.lines_of(self._frame_id)
        if count == 0:
            return None
        image = loom.render(first_line, count)
        self._keep_pace(first_line + count)
        position, is_line_scan = self._position(first_line), self.options.scan == "line"
        frame = Frame(self._frame_id, image, self._clock(), self.name, position, follows_on=is_line_scan)
        self._frame_id += 1
        return frame

    def lines_of(self, frame_id: int) -> tuple[int, int]:
        """Return the first line of a frame and how many it has; 0 lines behind the end of the roll.

        The last block of a line-scan camera holds what is left; an area camera takes whole images only.
        """
        options = self.options
        is_line_scan = options.scan == "line"
        height = options.lines_per_block if is_line_scan else options.height_px
        step = height if is_line_scan else options.lines_hz / options.frames_hz
        first_line = round(frame_id * step)
        if options.length_m is None:
            return first_line, height
        left = round(options.length_m * 1000.0 / options.mm_per_px) - first_line
        if is_line_scan:
            return first_line, max(0, min(height, left))
        return first_line, height if left >= height else 0

    def seen_defects(self, frame_id: int) -> list[SeenDefect]:
        """Return the ground truth for a frame: which of its pixels were changed by which defect."""
        return self.loom.seen_defects(*self.lines_of(frame_id))

    def planted_up_to(self, along_m: float) -> list[PlantedDefect]:
        """Return the defects that lie wholly before a place on the roll, from its start.

        They are worked out again from the seed, so that a roll may be of any length; it works when the
        camera is closed, too.
        """
        loom = self._loom or Loom(self.options, self._taxonomy)
        return loom.planted_up_to(along_m)

    def joints_up_to(self, along_m: float) -> list[PlantedJoint]:
        """Return the joints that lie wholly before a place on the roll, from its start."""
        loom = self._loom or Loom(self.options, self._taxonomy)
        return loom.joints_up_to(along_m)

    def _position(self, first_line: int) -> FramePosition:
        """Place a frame on the roll."""
        mm_per_px = self.options.mm_per_px
        return FramePosition(
            along_m=first_line * mm_per_px / 1000.0,
            mm_per_px_along=mm_per_px,
            mm_per_px_across=mm_per_px,
            left_selvedge_px=float(self.options.left_selvedge_px),
            right_selvedge_px=float(self.options.right_selvedge_px),
        )

    def _keep_pace(self, last_line: int) -> None:
        """Wait until a line has passed the camera, if it is live; time runs from the first frame."""
        if not self.is_live:
            return
        if self._started_s is None:
            self._started_s = self._clock()
        wait_s = self._started_s + last_line / self.lines_hz - self._clock()
        if wait_s > 0:
            self._sleep(wait_s)
