"""Run any number of images through a network that takes a fixed number at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def in_batches_of(
    batch: int | None, run: Callable[[Floats], Sequence[Floats]], images_nchw: Floats
) -> Sequence[Floats]:
    """Run a network on images, as many at once as it takes; the last batch is filled up with black ones.

    Args:
        batch: images at once; None for any number.
        run: gives what is on each port, the batch first.
        images_nchw: (B, C, H, W) float32.
    Returns:
        What is on each port for these images.
    """
    count = len(images_nchw)
    if batch in (None, count):
        return run(images_nchw)
    size = batch or count
    starts = range(0, max(count, 1), size)
    parts = [run(filled(images_nchw[start : start + size], size)) for start in starts]
    return [np.concatenate(port)[:count] for port in zip(*parts, strict=True)]


def filled(images_nchw: Floats, batch: int) -> Floats:
    """Return images with black ones behind them, `batch` in all."""
    missing = batch - len(images_nchw)
    if not missing:
        return images_nchw
    black = np.zeros((missing, *images_nchw.shape[1:]), images_nchw.dtype)
    return np.concatenate([images_nchw, black])
