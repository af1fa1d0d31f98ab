"""Run a network in batches of its size, and turn what it gives into boxes and scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edge.core.contract import AnyOutputs, HeadLevel, Outputs, RawOutputs

LOG_SIDE_LIMIT = 8.0
"""exp of it is 2981 strides, more than any image has: what lies beyond only overflows."""

Floats = NDArray[np.float32]


def answer_of(given: Sequence[Floats], outputs: AnyOutputs) -> tuple[Floats, Floats]:
    """Return boxes and scores.

    Args:
        given: what is on each of `outputs.output_ports`, in their order.
    Returns:
        boxes (B, A, 4) in input pixels and scores (B, A, classes) in [0, 1], float32. A counts the cells,
        levels one after the other, row by row. Logits that are no finite numbers stay none.
    """
    if isinstance(outputs, Outputs):
        boxes, scores = given
        return boxes, scores
    maps = dict(zip(outputs.output_ports, given, strict=True))
    with np.errstate(invalid="ignore", over="ignore"):
        boxes_of = [_boxes(maps[level.boxes_port], level.stride_px, outputs) for level in outputs.levels]
        scores_of = [_scores(maps, level) for level in outputs.levels]
    return _joined(boxes_of), _joined(scores_of)


def _boxes(logits: Floats, stride_px: int, outputs: RawOutputs) -> Floats:
    """Decode a map (B, values, H, W): (B, 4, H x W), x1 y1 x2 y2 in input pixels."""
    height, width = logits.shape[2:]
    rows, columns = np.divmod(np.arange(height * width, dtype=np.float32), np.float32(width))
    corners = np.stack([columns, rows])
    if outputs.bins is not None:
        sides = _expected_bin(logits.reshape(len(logits), 4, outputs.bins, -1))
        first, last = corners + 0.5 - sides[:, :2], corners + 0.5 + sides[:, 2:]
    else:
        flat = logits.reshape(len(logits), 4, -1)
        centres, halves = corners + flat[:, :2], _limited_exp(flat[:, 2:]) / 2
        first, last = centres - halves, centres + halves
    return np.asarray(np.concatenate([first, last], axis=1) * np.float32(stride_px), np.float32)


def _expected_bin(logits: Floats) -> Floats:
    """Return the mean over distributions (B, 4, bins, A) of bins numbered from 0: (B, 4, A)."""
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))
    numbers = np.arange(logits.shape[2], dtype=np.float32)
    return np.asarray(np.matmul(numbers, weights) / weights.sum(axis=2), np.float32)


def _limited_exp(logits: Floats) -> Floats:
    return np.asarray(np.exp(np.clip(logits, -LOG_SIDE_LIMIT, LOG_SIDE_LIMIT)), np.float32)


def _scores(maps: dict[str, Floats], level: HeadLevel) -> Floats:
    """Return the scores of a level: (B, classes, H x W) in [0, 1]."""
    scores = _sigmoid(maps[level.scores_port])
    if level.objectness_port is not None:
        scores *= _sigmoid(maps[level.objectness_port])
    return scores.reshape(*scores.shape[:2], -1)


def _sigmoid(logits: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)), which does not overflow in this form."""
    return np.asarray(0.5 * np.tanh(0.5 * logits) + 0.5, np.float32)


def _joined(levels: Sequence[Floats]) -> Floats:
    """Join (B, values, A of a level) to (B, A, values), contiguous."""
    return np.ascontiguousarray(np.concatenate(levels, axis=2).transpose(0, 2, 1))


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
