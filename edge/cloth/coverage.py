"""How much of the cloth that passed was looked at. "0 defects" without coverage is not a result."""

from __future__ import annotations

from edge.cameras.protocol import Frame


class Coverage:
    """Account for every line that passed: inspected, or part of a gap.

    With positions it counts metres; a camera that knows no position is counted in frames.
    Frames come in the order of capture and may overlap.
    """

    def __init__(self) -> None:
        self.frames_inspected = 0
        self.frames_dropped = 0
        self.frames_unreadable = 0
        self.metres_inspected = 0.0
        self._jump_m = 0.0
        self._first_m: float | None = None
        self._reached_m = 0.0

    def inspected(self, frame: Frame) -> None:
        """Count a frame that was inspected; a jump since the frame before is a gap."""
        self.frames_inspected += 1
        if frame.position is None:
            return
        start_m = frame.position.along_m
        end_m = start_m + frame.image.shape[0] * frame.position.mm_per_px_along / 1000
        if self._first_m is None:
            self._first_m = self._reached_m = start_m
        self._jump_m += max(0.0, start_m - self._reached_m)
        self.metres_inspected += max(0.0, end_m - max(start_m, self._reached_m))
        self._reached_m = max(self._reached_m, end_m)

    @property
    def gap_m(self) -> float:
        """Metres that passed uninspected: jumps between positions, and pictures that could not be read.

        A picture that cannot be read has no length; it is taken to be as long as the others on average.
        """
        mean_m = self.metres_inspected / self.frames_inspected if self.frames_inspected else 0.0
        return self._jump_m + self.frames_unreadable * mean_m

    @property
    def knows_metres(self) -> bool:
        """Whether any frame had a position."""
        return self._first_m is not None

    @property
    def share(self) -> float | None:
        """Share of what passed that was inspected, 0..1; None before the first frame."""
        if self.knows_metres:
            passed_m = self.metres_inspected + self.gap_m
            return self.metres_inspected / passed_m if passed_m else None
        passed = self.frames_inspected + self.frames_dropped + self.frames_unreadable
        return self.frames_inspected / passed if passed else None
