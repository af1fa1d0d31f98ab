"""Judge whether a frame is a new image of cloth, by its shape, its last rows and a digest."""

from __future__ import annotations

import zlib
from typing import Literal

import numpy as np

from edge.cameras.protocol import Frame
from edge.core.image import Image

Verdict = Literal["good", "repeated", "frozen", "wrong size", "half empty"]

EMPTY_FRACTION = 1 / 16
"""An image whose last rows, at least this fraction of it, hold one value to the pixel is half empty. What a
sensor sees is never so even: it has noise. Zeros stand where a driver filled nothing in, and middle grey
where a JPEG decoder did."""

DIGEST_ROWS = 64
"""Rows of an image that its digest is made of, spread over its height."""


class FrameJudge:
    """Judge the frames of one run. Pure but for its memory of the frames before.

    Args:
        frozen_s: one image again and again for so long is frozen; until then it is repeated.
    """

    def __init__(self, frozen_s: float) -> None:
        self._frozen_s = frozen_s
        self._shape: tuple[int, ...] | None = None
        self._digest: int | None = None
        self._counter: int | None = None
        self._same_since_s = 0.0

    def judge(self, frame: Frame, now_s: float) -> Verdict:
        """Judge a frame.

        An image like the one before is a repetition, unless the device counted on or the image is of
        one value throughout: an image of nothing says nothing.

        Args:
            frame: in the order of capture.
            now_s: of a clock that never steps.
        """
        if not self._fits(frame):
            return "wrong size"
        if is_half_empty(frame.image):
            return "half empty"
        if self._shape is None:
            self._shape = frame.image.shape
        digest, counter = digest_of(frame.image), frame.counter
        counts_on = counter is not None and counter != self._counter
        is_same = digest is not None and digest == self._digest and not counts_on
        self._digest, self._counter = digest, counter
        if not is_same:
            self._same_since_s = now_s
            return "good"
        return "frozen" if now_s - self._same_since_s >= self._frozen_s else "repeated"

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape that frames have to have; None before the first."""
        return self._shape

    def take_shape(self, frame: Frame) -> None:
        """Take the size of a frame for that of all that follow."""
        self._shape = frame.image.shape

    def _fits(self, frame: Frame) -> bool:
        """Tell whether a frame is like the first; blocks of a line camera may differ in height."""
        if self._shape is None:
            return True
        start = 1 if frame.follows_on else 0
        return frame.image.shape[start:] == self._shape[start:]


def digest_of(image: Image) -> int | None:
    """Return a digest of some rows of an image; None if they hold one value throughout.

    Args:
        image: (H, W) or (H, W, 3) uint8, not empty.
    """
    rows = np.ascontiguousarray(image[:: max(1, len(image) // DIGEST_ROWS)])
    if int(rows.min()) == int(rows.max()):
        return None
    return zlib.crc32(rows.data)


def is_half_empty(image: Image) -> bool:
    """Tell whether the last rows of an image hold one value to the pixel while others do not.

    Args:
        image: (H, W) or (H, W, 3) uint8, not empty.
    """
    last = image[-max(1, round(len(image) * EMPTY_FRACTION)) :]
    if len(last) == len(image) or not _is_one_value(last):
        return False
    return not _is_one_value(image)


def is_black(image: Image) -> bool:
    """Tell whether an image shows nothing, by some of its rows: black, or one value throughout."""
    rows = image[:: max(1, len(image) // DIGEST_ROWS)]
    return float(rows.mean()) < BLACK_GREY or _is_one_value(rows)


BLACK_GREY = 4.0
"""Mean below which an image is black. Drivers give such images while a sensor starts."""


def _is_one_value(image: Image) -> bool:
    return bool((image == image[0, 0]).all())
