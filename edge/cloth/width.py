"""How wide the cloth is, where both selvedges are known."""

from __future__ import annotations

from edge.cameras.protocol import FramePosition


class ClothWidth:
    """Average the distance of the selvedges over frames."""

    def __init__(self) -> None:
        self._sum_mm = 0.0
        self._frames = 0

    def add(self, position: FramePosition) -> None:
        """Take in a frame; one that does not know both selvedges says nothing."""
        left_px, right_px = position.left_selvedge_px, position.right_selvedge_px
        if left_px is not None and right_px is not None and right_px > left_px:
            self._sum_mm += (right_px - left_px) * position.mm_per_px_across
            self._frames += 1

    @property
    def mm(self) -> float | None:
        """Mean width in millimetres; None if it was never seen."""
        return self._sum_mm / self._frames if self._frames else None
