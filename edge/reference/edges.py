"""Model the edges of the cloth: a selvedge is woven otherwise than the cloth between, and varies more."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.reference.contrast import Floats, Mask
from edge.reference.trunk import EDGE_PX, SELVEDGE_PX, STRIDE_PX

EDGE_CELLS = 64
"""From each edge on, columns of cells that have a usual height of their own: 256 px."""

MOST_RAISED = 4.0
"""Times what is usual between the selvedges, up to which a column's own height counts."""

AROUND_CELLS = 5
"""Columns of cells that share their greatest height: yarns of a selvedge lie now here, now there."""

CORE_PX = 64
"""Nearer to an edge nothing is fitted. Selvedges of seven real fabrics reach 20 to 110 px into the cloth;
what is beyond this is measured."""

MOST_SELVEDGE_PX = 160
"""Of a selvedge, beyond `CORE_PX`."""

SELVEDGE_TOP = 1.12
"""Times the usual distance, from which on a column of cells belongs to the selvedge."""

SELVEDGE_GAP = 5
"""Columns of cells that look like cloth end a selvedge."""


def edges_in_view(is_judged: Mask) -> tuple[int | None, int | None]:
    """Return the first and the last column that is judged; None where the cloth goes on beyond the image.

    Args:
        is_judged: (h, w), with at least one True.
    """
    columns = np.flatnonzero(is_judged.any(axis=0))
    first, last = int(columns[0]), int(columns[-1])
    margin = EDGE_PX // STRIDE_PX
    return (
        first if first > margin else None,
        last if last < is_judged.shape[1] - 1 - margin else None,
    )


def core(is_judged: Mask) -> Mask:
    """Return what is judged and further than `CORE_PX` from an edge that is in view."""
    if not is_judged.any():
        return is_judged
    left, right = edges_in_view(is_judged)
    width = (CORE_PX - SELVEDGE_PX) // STRIDE_PX
    return without_columns(is_judged, 0 if left is None else width, 0 if right is None else width)


def heights(even: Floats, is_judged: Mask, crest: float) -> Floats:
    """Measure how far each column near to an edge goes, over what is usual in the image.

    Args:
        even: (h, w), a channel's evened deviations; 0 where nothing is judged.
        crest: of the image.
    Returns:
        (2, EDGE_CELLS), from the left and from the right edge on; NaN beyond the image, and for an edge
        that is not in view.
    """
    left, right = edges_in_view(is_judged)
    greatest = even.max(axis=0) / np.float32(crest)
    found = np.full((2, EDGE_CELLS), np.nan, np.float32)
    if left is not None:
        near = greatest[left : left + EDGE_CELLS]
        found[0, : len(near)] = near
    if right is not None:
        near = greatest[: right + 1][::-1][:EDGE_CELLS]
        found[1, : len(near)] = near
    return found


def usual_heights(measured: Sequence[Floats]) -> Floats:
    """Return how much higher than elsewhere columns near to the edges usually go: at least 1.

    Args:
        measured: `heights` of images.
    """
    stacked = np.stack(measured)
    known = ~np.isnan(stacked).all(axis=0)
    usual = np.ones(stacked.shape[1:], np.float32)
    usual[known] = np.nanmedian(stacked[:, known], axis=0)
    raised = cv2.dilate(usual, np.ones((1, AROUND_CELLS), np.uint8))
    smooth = cv2.blur(raised, (AROUND_CELLS, 1), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(np.clip(smooth, 1, MOST_RAISED), np.float32)


def raised_columns(usual: Floats, is_judged: Mask) -> Floats:
    """Return what each column of an image is divided by, (w,).

    Args:
        usual: of `usual_heights`.
        is_judged: (h, w), with at least one True.
    """
    left, right = edges_in_view(is_judged)
    by = np.ones(is_judged.shape[1], np.float32)
    if left is not None:
        near = by[left : left + EDGE_CELLS]
        near[:] = usual[0, : len(near)]
    if right is not None:
        near = by[: right + 1][::-1][:EDGE_CELLS]
        near[:] = np.maximum(near, usual[1, : len(near)])
    return by


def selvedge_cells(distances: Floats, is_judged: Mask) -> int:
    """Measure how many columns at the left look otherwise than the cloth inside of them.

    Args:
        distances, is_judged: (h, w).
    Returns:
        A number of columns of cells; 0 where the cloth reaches the border of the image.
    """
    columns = np.flatnonzero(is_judged.any(axis=0))
    first, reach = int(columns[0]), MOST_SELVEDGE_PX // STRIDE_PX
    if first <= EDGE_PX // STRIDE_PX or len(columns) < 4 * reach:
        return 0
    seen = np.where(is_judged, distances, np.nan)[:, first : first + 4 * reach]
    if np.isnan(seen).all(axis=0).any():
        return 0
    usual_here = np.nanmedian(seen, axis=0)
    smooth = np.convolve(np.pad(usual_here, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    over = np.flatnonzero(smooth[:reach] > SELVEDGE_TOP * np.median(usual_here[reach:]))
    gaps = np.diff(over, prepend=-1)
    joined = over[: int(np.argmax(gaps > SELVEDGE_GAP))] if (gaps > SELVEDGE_GAP).any() else over
    return int(joined[-1]) + 2 if len(joined) else 0


def without_columns(is_judged: Mask, left: int, right: int) -> NDArray[np.bool_]:
    """Leave out so many of the outermost columns that are judged."""
    columns = np.flatnonzero(is_judged.any(axis=0))
    inner: Mask = is_judged.copy()
    inner[:, : columns[0] + left] = False
    inner[:, columns[-1] + 1 - right :] = False
    return inner
