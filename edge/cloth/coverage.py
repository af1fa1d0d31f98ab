"""How much of the cloth that passed was looked at. "0 defects" without coverage is not a result."""

from __future__ import annotations

import numpy as np

from edge.cameras.protocol import Frame
from edge.cloth.mask import Mask


class Coverage:
    """Account for every line that passed: inspected, or part of a gap.

    There are two reasons for a gap: the lines were lost (dropped, unreadable), or no cloth lay on them.
    With positions it counts metres; a camera that knows no position is counted in frames.
    Frames come in the order of capture and may overlap.
    """

    def __init__(self) -> None:
        self.frames_inspected = 0
        self.frames_dropped = 0
        self.frames_unreadable = 0
        self.frames_without_cloth = 0
        self.metres_inspected = 0.0
        self.metres_without_cloth = 0.0
        self._jump_m = 0.0
        self._first_m: float | None = None
        self._reached_m = 0.0

    def passed(self, frame: Frame, cloth_lines: Mask | None = None) -> None:
        """Count a frame that was looked at; a jump since the frame before is a gap.

        Args:
            frame: in the order of capture.
            cloth_lines: (H,) bool, which of its lines show cloth and were inspected; None for all.
        """
        if cloth_lines is None or cloth_lines.any():
            self.frames_inspected += 1
        else:
            self.frames_without_cloth += 1
        if frame.position is None:
            return
        start_m = frame.position.along_m
        end_m = start_m + frame.image.shape[0] * frame.position.mm_per_px_along / 1000
        if self._first_m is None:
            self._first_m = self._reached_m = start_m
        self._jump_m += max(0.0, start_m - self._reached_m)
        new_m = max(0.0, end_m - max(start_m, self._reached_m))
        bare_m = new_m * _bare_share(cloth_lines, new_m / (end_m - start_m))
        self.metres_without_cloth += bare_m
        self.metres_inspected += new_m - bare_m
        self._reached_m = max(self._reached_m, end_m)

    @property
    def lost_m(self) -> float:
        """Metres that passed unseen: jumps between positions, and pictures that could not be read.

        A picture that cannot be read has no length; it is taken to be as long as the others on average.
        """
        seen = self.frames_inspected + self.frames_without_cloth
        mean_m = (self.metres_inspected + self.metres_without_cloth) / seen if seen else 0.0
        return self._jump_m + self.frames_unreadable * mean_m

    @property
    def gap_m(self) -> float:
        """Metres that passed uninspected, for whatever reason."""
        return self.lost_m + self.metres_without_cloth

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
        uninspected = self.frames_dropped + self.frames_unreadable + self.frames_without_cloth
        passed = self.frames_inspected + uninspected
        return self.frames_inspected / passed if passed else None


def _bare_share(cloth_lines: Mask | None, new_share: float) -> float:
    """Return the share of the last lines of a frame that show no cloth.

    Args:
        cloth_lines: (H,) bool; None if all do.
        new_share: of the frame that those last lines are; the others were counted with earlier frames.
    """
    if cloth_lines is None or not new_share:
        return 0.0
    new_lines = max(1, round(new_share * len(cloth_lines)))
    return float(1 - np.mean(cloth_lines[-new_lines:]))
