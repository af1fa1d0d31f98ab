"""Compute the box around a mask in COCO's run lengths, column by column, zeros first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.labels.sets.annotations import BoxXyxy
from distill.labels.sets.attributes import FARTHEST_PX, finite_numbers, side_px

MOST_RUNS = 1 << 22


def box_of_run_lengths(mask: Mapping[str, Any]) -> BoxXyxy:
    """Return the box around a mask.

    Args:
        mask: `size`, height and width, and `counts`: a list, or the text that pycocotools writes.
    Raises:
        ValueError: if it is damaged, does not cover the image, or nothing of it is set.
    """
    size, counts = mask.get("size"), mask.get("counts")
    sides = size if isinstance(size, list) and len(size) == 2 else (None, None)
    height, width = (side_px(side) for side in sides)
    runs = _unpacked(counts) if isinstance(counts, str) else _whole(counts)
    if not height or not width or runs.min(initial=0) < 0 or int(runs.sum()) != height * width:
        raise ValueError("its run lengths do not cover the image")
    ends = np.cumsum(runs)
    starts = ends - runs
    first, last = starts[1::2][runs[1::2] > 0], ends[1::2][runs[1::2] > 0] - 1
    if not first.size:
        raise ValueError("its mask is empty")
    columns = int(first.min() // height), int(last.max() // height)
    spans = first // height != last // height  # a run over the end of a column reaches both edges
    top = 0 if spans.any() else int((first % height).min())
    bottom = height - 1 if spans.any() else int((last % height).max())
    return float(columns[0]), float(top), float(columns[1] + 1), float(bottom + 1)


def _whole(counts: Any) -> NDArray[np.int64]:
    if not isinstance(counts, list) or len(counts) > MOST_RUNS:
        raise ValueError("its run lengths cannot be read")
    numbers: Sequence[float] = finite_numbers(counts)
    return np.array(numbers, np.float64).astype(np.int64)


def _unpacked(text: str) -> NDArray[np.int64]:
    """Undo pycocotools' packing: five bits a character, from the third on as difference to two before."""
    if len(text) > MOST_RUNS or not all(48 <= ord(letter) < 112 for letter in text):
        raise ValueError("its packed run lengths cannot be read")
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            if shift > 60:
                raise ValueError("its packed run lengths cannot be read")
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        if abs(runs[-1]) > FARTHEST_PX:
            raise ValueError("its packed run lengths cannot be read")
        value = shift = 0
    if shift:
        raise ValueError("its packed run lengths end too early")
    return np.array(runs, np.int64)
