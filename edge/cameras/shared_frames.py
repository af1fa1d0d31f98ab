"""Share memory with a process that fills it with frames: slots, taken in turn and given back."""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Callable, Sequence

import numpy as np

from edge.core.errors import ImageError
from edge.core.image import Image

SLOTS = 8

SLOT_BYTES = 128 * 2**20
"""Most bytes of a frame: 16,384 pixels by 8,192 lines of grey. Memory that is not filled costs nothing."""

LEAST_FREE = 2
"""With fewer free slots a frame is copied out, so that a reader that keeps many cannot stop the camera."""


class SharedFrames:
    """Hold frames where two processes see them. The memory has no name: no crash leaves it behind.

    Args:
        give_back: called with the number of a slot that nobody looks at any more.
    """

    def __init__(self, give_back: Callable[[int], None]) -> None:
        self.descriptor = os.memfd_create("loomsight frames")
        os.ftruncate(self.descriptor, SLOTS * SLOT_BYTES)
        self._memory: mmap.mmap | None = mmap.mmap(self.descriptor, SLOTS * SLOT_BYTES, prot=mmap.PROT_READ)
        self._give_back = give_back
        self._in_use: set[int] = set()

    def close(self) -> None:
        """Let go of the memory; it is freed with the last frame that somebody keeps."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
            self._memory = None

    def image(self, slot: int, shape: Sequence[int]) -> Image:
        """Return the frame in a slot, without a copy as long as enough slots are free.

        Args:
            slot: 0 to `SLOTS` - 1.
            shape: (H, W) or (H, W, 3).
        Raises:
            ImageError: if a frame of that shape does not fit or is none.
        """
        count = int(np.prod(shape)) if len(shape) in (2, 3) and min(shape) >= 0 else -1
        if self._memory is None:
            raise ValueError("a frame is asked of memory that is closed")
        if not 0 < count <= SLOT_BYTES or not 0 <= slot < SLOTS:
            self._give_back(slot)
            raise ImageError(
                f"A frame has the shape {tuple(shape)}.", "An image is grey or BGR, not empty."
            )
        flat = np.frombuffer(self._memory, np.uint8, count, slot * SLOT_BYTES)
        if len(self._in_use) >= SLOTS - LEAST_FREE:
            image: Image = flat.reshape(shape).copy()
            self._give_back(slot)
            return image
        self._in_use.add(slot)
        weakref.finalize(flat, self._done, slot).atexit = False
        view: Image = flat.reshape(shape)
        return view

    def _done(self, slot: int) -> None:
        self._in_use.discard(slot)
        self._give_back(slot)
