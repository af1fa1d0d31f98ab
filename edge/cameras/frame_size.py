"""Follow a live camera that gives frames of another size than before, until they are taken for its own."""

from __future__ import annotations

from dataclasses import replace

from edge.cameras.protocol import Frame
from edge.core.errors import FrameSizeError

Shape = tuple[int, ...]

ASPECT_TOLERANCE = 0.01
"""Sizes whose sides have the same ratio but for this show the same view, at another resolution."""

TAKEN_AFTER = 50
"""So many frames of one other size in a row are no accident."""


class FrameSize:
    """Decide when frames of another size are to be inspected, and bring their scale to that size.

    Millimetres per pixel are given for the size of the first frame. At another one with the same ratio of
    the sides they are the same view, and the scale is known; a cut-out has one that nobody knows.

    Args:
        accepts_any: False to never take another size than the first.
    """

    def __init__(self, accepts_any: bool) -> None:
        self._accepts_any = accepts_any
        self._first: Shape | None = None
        self._other: Shape | None = None
        self._in_a_row = 0
        self._scale = 1.0

    def good_came(self, frame: Frame) -> Frame:
        """Return a frame of the size that is inspected, with its scale at that size."""
        self._first = self._first or frame.image.shape
        self._other, self._in_a_row = None, 0
        if self._scale == 1.0 or frame.mm_per_px is None:
            return frame
        return replace(frame, mm_per_px=frame.mm_per_px * self._scale)

    def is_taken(self, frame: Frame) -> bool:
        """Count a frame of another size; True if frames of that size are to be inspected from now on."""
        shape = frame.image.shape
        self._in_a_row = self._in_a_row + 1 if shape == self._other else 1
        self._other = shape
        if not self._accepts_any or self._refusal(frame) or self._in_a_row < TAKEN_AFTER:
            return False
        self._scale = self._first[1] / shape[1] if self._first else 1.0
        return True

    def advice(self, frame: Frame) -> str:
        """Say what to do about frames of this size."""
        if refusal := self._refusal(frame):
            return f"Set the camera back, or start again: {refusal}."
        if self._accepts_any:
            return f"After {TAKEN_AFTER} such frames it goes on at the new size."
        return 'Set the camera back, or set `frame_size = "any"` to go on at the new size.'

    def _refusal(self, frame: Frame) -> str | None:
        """Say why frames of this size cannot be inspected in this run; None if they can."""
        if frame.position is not None:
            return "where its columns lie on the cloth is not known at that size"
        if frame.mm_per_px is not None and not self._has_first_aspect(frame.image.shape):
            return "the sides have another ratio, and --mm-per-px is not known at that size"
        return None

    def _has_first_aspect(self, shape: Shape) -> bool:
        if self._first is None:
            return True
        height, width = shape[:2]
        return abs(height * self._first[1] / (width * self._first[0]) - 1) <= ASPECT_TOLERANCE


def size_text(shape: Shape) -> str:
    """Return a size as people write it, with the colour where that is what differs."""
    return f"{shape[1]} x {shape[0]} pixels {'in colour' if len(shape) == 3 else 'in grey'}"


def check_same_size(shape: Shape, before: Shape | None, what: str) -> None:
    """See that a frame has the size of those before it.

    Args:
        shape: of the frame.
        before: of those before; None for the first.
        what: names camera and frame in the message.
    Raises:
        FrameSizeError: if it has not.
    """
    if before is not None and shape != before:
        raise FrameSizeError(
            f"{what} is of {size_text(shape)}, those before were of {size_text(before)}.",
            'Set the camera back, or set `frame_size = "any"` to go on at the new size.',
        )
