"""Define the image type of the project, and convert a camera's or a file's array to it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.errors import ImageError

Image = NDArray[np.uint8]
"""(H, W) grey or (H, W, 3) BGR, uint8, C-contiguous."""


LEAST_TOP = 4096
"""Sixteen-bit values below this fill twelve bits or fewer: scaled to eight bits they are nearly black."""


def image_from_array(array: NDArray[Any], name: str, bit_depth: int | None = None) -> Image:
    """Bring what a decoder or a camera gave into the project's form.

    Alpha is dropped. Sixteen-bit values are scaled from `bit_depth` to eight bits.

    Args:
        array: (H, W), (H, W, 1), (H, W, 3) BGR or (H, W, 4) BGRA; uint8 or uint16.
        name: of the file or camera, for the message.
        bit_depth: significant bits of 16-bit values: 10 and 12 are common in cameras. None: 16, and an
            image that fills only 12 of them is refused, as nobody can tell whether it is dark.
    Returns:
        The image; `array` itself where nothing had to be done.
    Raises:
        ImageError: if it is empty or has another shape or type, or fills few of its bits.
    """
    if array.dtype == np.uint16:
        if bit_depth is None:
            _check_filled(array, name)
        array = cv2.convertScaleAbs(array, alpha=255 / (2 ** (bit_depth or 16) - 1))
    if array.dtype != np.uint8:
        raise ImageError(
            f"{name} has pixels of type {array.dtype}.", "Save it with 8 or 16 unsigned bits per channel."
        )
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or array.size == 0 or channels not in (1, 3, 4):
        raise ImageError(
            f"{name} has the shape {array.shape}.", "An image is grey, BGR or BGRA, and not empty."
        )
    if channels == 4:
        array = cv2.cvtColor(array, cv2.COLOR_BGRA2BGR)
    elif array.ndim == 3 and channels == 1:
        array = array[..., 0]
    return np.ascontiguousarray(array, np.uint8)


def _check_filled(array: NDArray[Any], name: str) -> None:
    top = int(array[..., :3].max(initial=0)) if array.ndim == 3 else int(array.max(initial=0))
    if 0 < top < LEAST_TOP:
        raise ImageError(
            f"{name} has 16 bits and fills {top.bit_length()} of them: in 8 bits it would be nearly black.",
            f"Say how many bits it has, for instance `bit_depth = {max(9, top.bit_length())}`, or 16 if "
            "it is so dark; elsewhere scale it to the full range first.",
        )
