"""Convert places in an image to location tokens of Florence-2, `<loc_0>` to `<loc_999>`, and back.

An image is cut into a thousand bins along each axis. A box is its label and four tokens, an outline
any number of pairs between ``<poly>`` and ``</poly>``, its pieces parted by ``<sep>``.
Several of one label may stand behind it; what has no label of its own belongs to the one before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distill.labels.sets.annotations import BoxXyxy, PolygonXy, box_around
from edge.core.errors import DatasetError

BINS = 1000
"""Florence-2's quantizer (Xiao et al. 2023, section 4.1): there is no token beyond `<loc_999>`."""

_TOKEN = re.compile(r"<loc_(\d+)>|<(/?poly|sep)>|</?[A-Za-z_]+>|([^<]+|<)")
_ESCAPED = re.compile(r"<|&((?:amp;)*)lt;")


@dataclass(slots=True)
class _Run:
    """Hold the bins that follow one label: piece by piece, and whether `<poly>` stood around them.

    `is_named`: the label stands right before them, and is not that of an earlier run.
    """

    label: str
    is_outline: bool
    is_named: bool = False
    pieces: list[list[int]] = field(default_factory=lambda: [[]])

    @property
    def bins(self) -> list[int]:
        return [number for piece in self.pieces for number in piece]


def bins_from_xy(points_xy_px: ArrayLike, size_hw_px: tuple[int, int]) -> NDArray[np.int64]:
    """Give the bins that points lie in: floor(x / (W / 1000)), kept within 0..999.

    Args:
        points_xy_px: (..., 2), x and y in image pixels; or (..., 2 k) with x and y in turn, as boxes are.
        size_hw_px: height and width of the image.
    Returns:
        Bins, of the same shape.
    Raises:
        ValueError: if a size is not positive, a number is not finite or the last axis is odd.
    """
    points = np.asarray(points_xy_px, np.float64)
    if not np.isfinite(points).all():
        raise ValueError("a coordinate is not a finite number")
    bins = np.floor(points / _bin_size_px(points.shape, size_hw_px))
    return np.clip(bins, 0, BINS - 1).astype(np.int64)


def xy_from_bins(bins: ArrayLike, size_hw_px: tuple[int, int]) -> NDArray[np.float64]:
    """Give the centres of bins, (bin + 0.5) W / 1000, not rounded: thin yarns depend on it.

    Args:
        bins: (..., 2) or (..., 2 k), x and y in turn, 0..999.
        size_hw_px: height and width of the image.
    Returns:
        Image pixels, of the same shape.
    Raises:
        ValueError: if a size is not positive or the last axis is odd.
    """
    numbers = np.asarray(bins, np.float64)
    return (numbers + 0.5) * _bin_size_px(numbers.shape, size_hw_px)


def write_boxes(label: str, boxes_xyxy_px: ArrayLike, size_hw_px: tuple[int, int]) -> str:
    """Write the label and then each of its boxes.

    Args:
        label: what they are; a `<` in it is written as `&lt;`, and read back.
        boxes_xyxy_px: (N, 4) image pixels, or one box (4,).
        size_hw_px: height and width of the image.
    Raises:
        DatasetError: if the label is empty.
        ValueError: see `bins_from_xy`.
    """
    return written_label(label) + place_text(boxes_xyxy_px, size_hw_px)


def place_text(place: ArrayLike, size_hw_px: tuple[int, int]) -> str:
    """Write a box, a quadrilateral or an outline as bare location tokens.

    Args:
        place: x1, y1, x2, y2, or corners (x, y), image pixels.
        size_hw_px: height and width of the image.
    """
    bins = bins_from_xy(np.asarray(place, np.float64).reshape(-1, 2), size_hw_px)
    return "".join(f"<loc_{number}>" for number in bins.ravel())


def outlines_text(outlines: Sequence[PolygonXy], size_hw_px: tuple[int, int]) -> str:
    """Write outlines as Florence-2 answers a referring expression: one bare, several between marks."""
    texts = [place_text(outline, size_hw_px) for outline in outlines]
    return texts[0] if len(texts) == 1 else "".join(f"<poly>{text}</poly>" for text in texts)


def parse_boxes(text: str, size_hw_px: tuple[int, int]) -> list[tuple[str, BoxXyxy]]:
    """Read (label, box) in the order of the text; outlines and incomplete boxes are skipped.

    A box before any label has the label ``""``. Corners stay as they stand in the text, swapped or not.
    """
    return [
        (run.label, _box(run.bins[start : start + 4], size_hw_px))
        for run in _runs(text)
        if not run.is_outline
        for start in range(0, len(run.bins) - 3, 4)
    ]


def parse_polygons(text: str, size_hw_px: tuple[int, int]) -> list[tuple[str, tuple[PolygonXy, ...]]]:
    """Read (label, pieces of the outline), one entry per region, in the order of the text.

    In a text without any ``<poly>`` every row of tokens is an outline: so Florence-2 answers a referring
    expression. Pieces of fewer than three corners are skipped.
    """
    runs = list(_runs(text))
    if any(run.is_outline for run in runs):
        runs = [run for run in runs if run.is_outline]
    found = []
    for run in runs:
        pieces = tuple(_polygon(piece, size_hw_px) for piece in run.pieces if len(piece) >= 6)
        if pieces:
            found.append((run.label, pieces))
    return found


def parse_places(
    text: str, size_hw_px: tuple[int, int]
) -> tuple[list[tuple[str, BoxXyxy, PolygonXy | None]], list[str]]:
    """Read boxes and outlines, in the order of the text, and name everything else in it.

    Where the tokens behind a label are no multiple of four nobody knows which are a box, so none is.

    Returns:
        Label, box and outline (None for a box) of each piece; and one line for each object not read.
    """
    places: list[tuple[str, BoxXyxy, PolygonXy | None]] = []
    wrong = []
    for run in _all_runs(text):
        fault = _fault_of(run)
        if fault:
            wrong.append(fault)
        elif run.is_outline:
            outlines = [_polygon(piece, size_hw_px) for piece in run.pieces if piece]
            places += [(run.label, box_around(outline), outline) for outline in outlines]
        else:
            starts = range(0, len(run.bins), 4)
            places += [(run.label, _box(run.bins[i : i + 4], size_hw_px), None) for i in starts]
    return places, wrong


def _fault_of(run: _Run) -> str:
    """Say why a run is not read; "" if it is, or is none."""
    shown = f"'{run.label[:40]}'"
    if not run.bins:
        return f"{shown} holds no place" if run.is_named else ""
    if not run.label:
        return "a place stands before any label"
    if not run.is_outline and len(run.bins) % 4:
        return f"{shown} has {len(run.bins)} location tokens: boxes need four each"
    if run.is_outline and any(piece and (len(piece) % 2 or len(piece) < 6) for piece in run.pieces):
        return f"the outline of {shown} has an odd number of tokens, or fewer than three corners"
    return ""


def written_label(label: str) -> str:
    """Return a label as it stands before location tokens: `<` as `&lt;`, an `&lt;` as `&amp;lt;`.

    Raises:
        DatasetError: if it is empty or blank.
    """
    if not label.strip():
        raise DatasetError("A region has no label.", "Give it one: a place alone cannot be learnt.")
    return _ESCAPED.sub(lambda m: "&lt;" if m[0] == "<" else f"&amp;{m[1]}lt;", label.strip())


def label_from_written(text: str) -> str:
    """Undo `written_label`."""
    return _ESCAPED.sub(lambda m: f"&{m[1][4:]}lt;" if m[1] else "<", text.strip())


def _runs(text: str) -> Iterator[_Run]:
    """Cut a text into labels and the rows of tokens behind them; numbers beyond 999 count as 999."""
    return (run for run in _all_runs(text) if run.bins)


def _all_runs(text: str) -> Iterator[_Run]:
    """Yield also labels without any tokens behind them."""
    label, run = "", _Run("", is_outline=False)
    for token in _TOKEN.finditer(text):
        number, mark, words = token.groups()
        if number:
            run.pieces[-1].append(min(int(number[:9]), BINS - 1))
        elif mark == "sep":
            run.pieces.append([])
        elif mark == "poly" and run.is_named and not run.bins:
            run.is_outline = True
        elif mark or (words and words.strip()):
            yield run
            label = label_from_written(words) if words else label
            run = _Run(label, is_outline=mark == "poly", is_named=bool(words))
    yield run


def _bin_size_px(shape: tuple[int, ...], size_hw_px: tuple[int, int]) -> NDArray[np.float64]:
    height, width = size_hw_px
    if not shape or shape[-1] % 2 or height <= 0 or width <= 0:
        raise ValueError(f"x and y in turn and a positive size are needed, not {shape} and {size_hw_px}")
    return np.tile([width / BINS, height / BINS], shape[-1] // 2)


def _box(bins: Sequence[int], size_hw_px: tuple[int, int]) -> BoxXyxy:
    x1, y1, x2, y2 = xy_from_bins(bins, size_hw_px).tolist()
    return x1, y1, x2, y2


def _polygon(bins: Sequence[int], size_hw_px: tuple[int, int]) -> PolygonXy:
    corners = xy_from_bins(np.reshape(bins[: len(bins) // 2 * 2], (-1, 2)), size_hw_px)
    return tuple((x, y) for x, y in corners.tolist())
