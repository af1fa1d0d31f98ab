"""Notice cloth that is not the same everywhere: stripes, bands of another weave, a printed pattern.

The reference describes one weave. Where there are several, what is usual in one of them counts for all, so
weak defects are missed. Brightness and contrast are averaged over cells of some yarns, and what of their
variation belongs to the cloth is told from its clouds by where it comes again: at the same place along the
width on other strips (stripes along the warp), on both halves of the width (stripes along the weft), or
nearly everywhere (a pattern).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.image import Image
from edge.reference.second_look import ReferenceView

CELL_PX: Final = 32
"""Side of a cell: some six yarns, so that the weave itself averages out."""

MOST_STRIPS: Final = 64
"""Of the cloth, evenly chosen, that are looked at."""

LEAST_CELLS: Final = 12
"""Of a strip."""

LAMP_DEGREE: Final = 4
"""Of the polynomial along the width that lamp and lens account for."""

CLIPPED_AT: Final = 5.0
"""Times the usual deviation of a strip, beyond which a cell counts no further: defects are no pattern."""

LINES_BLUR_PX: Final = 6.0
"""What this blur takes away is the fine contrast of the weave."""

Kind = Literal["stripes along the warp", "stripes along the weft", "a pattern"]
Quantity = Literal["brightness", "contrast"]

STRIPES_FROM: Final[Mapping[Quantity, float]] = {"brightness": 0.03, "contrast": 0.09}
PATTERN_FROM: Final[Mapping[Quantity, float]] = {"brightness": 0.10, "contrast": 0.16}
"""Variation, as a ratio to the mean, from which on stripes and patterns are noticed. Seven real fabrics
have at most 0.014 and 0.023 by the measure of stripes, 0.019 and 0.036 by that of patterns; five of the
simulated loom 0.024 and 0.034, 0.064 and 0.092. Stripes that are a tenth darker give 0.045 to 0.055, bands
of two of the fabrics 0.11 to 0.27 in contrast, a print a quarter darker 0.12."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pattern:
    """Say what was noticed.

    Attributes:
        kind: of the pattern.
        ratio: by how much brightness or contrast vary, next to their mean.
        what: which of the two.
    """

    kind: Kind
    ratio: float
    what: Quantity

    def text(self) -> str:
        """Return one line: what it is, what follows, what to do."""
        return (
            f"the cloth has {self.kind}: its {self.what} varies by {self.ratio:.0%}. The reference "
            "describes a weave that is the same everywhere, so weak defects are missed here: trust the "
            "detector on this article, or teach on cloth without the pattern."
        )


def strips_to_sample(count: int) -> list[int]:
    """Return which of so many strips are looked at."""
    return [int(number) for number in np.unique(np.linspace(0, count - 1, min(count, MOST_STRIPS)).round())]


def pattern_of(views: Iterable[ReferenceView]) -> Pattern | None:
    """Notice a pattern in clean cloth; None if it is the same everywhere.

    Args:
        views: strips of one width, with what of them is cloth.
    """
    cells = [one for view in views if np.isfinite(one := _cells(view)).sum() >= 2 * LEAST_CELLS]
    if not cells:
        return None
    width = min(one.shape[2] for one in cells)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns and rows without cloth
        return _noticed([one[0, :, :width] for one in cells], "brightness") or _noticed(
            [one[1, :, :width] for one in cells], "contrast"
        )


def _noticed(planes: Sequence[Floats], what: Quantity) -> Pattern | None:
    """Notice a pattern in the planes of one quantity."""
    level = float(np.nanmedian([np.nanmedian(plane) for plane in planes]))
    flat = [_without_lamp(plane) for plane in planes]
    warp = _again_along_the_width(flat)
    weft = _on_both_halves([plane - level for plane in planes])
    whole = _spread(np.concatenate([plane[np.isfinite(plane)] for plane in flat]))
    stripes_from = STRIPES_FROM[what]
    if min(warp, weft) >= stripes_from or (max(warp, weft) < stripes_from and whole >= PATTERN_FROM[what]):
        return Pattern("a pattern", whole, what)
    if max(warp, weft) < stripes_from:
        return None
    kind: Kind = "stripes along the warp" if warp >= weft else "stripes along the weft"
    return Pattern(kind, max(warp, weft), what)


def _cells(view: ReferenceView) -> Floats:
    """Return the logarithms of brightness and of fine contrast by cells, (2, h, w); NaN off the cloth."""
    grey = _grey(view.image)
    size = tuple(side // CELL_PX * CELL_PX for side in grey.shape)
    if min(size) == 0:
        return np.full((2, 1, 1), np.nan)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), LINES_BLUR_PX)
    planes = [
        np.maximum(_averaged(grey, size), 1.0),
        np.maximum(np.sqrt(_averaged(fine * fine, size)), 0.3),
    ]
    values = np.log(np.stack(planes))
    if view.is_cloth is not None:
        values[:, _averaged(view.is_cloth.astype(np.float32), size) < 1] = np.nan
    return np.asarray(values, np.float64)


def _averaged(plane: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    height, width = size
    parts = plane[:height, :width].reshape(height // CELL_PX, CELL_PX, width // CELL_PX, CELL_PX)
    return np.asarray(parts.mean(axis=(1, 3)), np.float32)


def _grey(image: Image) -> NDArray[np.float32]:
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return np.asarray(grey, np.float32)


def _without_lamp(plane: Floats) -> Floats:
    """Take off what varies smoothly along the width, and cut off what is far from the rest."""
    is_known = np.isfinite(plane)
    across = np.nonzero(is_known)[1] / plane.shape[1] * 2 - 1
    powers = np.polynomial.polynomial.polyvander(across, LAMP_DEGREE)
    values = plane[is_known]
    rest = values - np.median(values)
    for _ in range(4):
        usual = max(1e-6, 1.4826 * float(np.median(np.abs(rest))))
        kept = np.abs(rest) < 3 * usual
        factors, *_ = np.linalg.lstsq(powers[kept], values[kept], rcond=None)
        rest = values - powers @ factors
    flat = np.full(plane.shape, np.nan)
    flat[is_known] = np.clip(rest, -CLIPPED_AT * usual, CLIPPED_AT * usual)
    return flat


def _again_along_the_width(planes: Sequence[Floats]) -> float:
    """Return the deviation that strips share along the width: the root of their mean covariance."""
    columns = np.array([np.nanmean(plane, axis=0) for plane in planes])
    is_known = np.isfinite(columns)
    columns = np.nan_to_num(columns)
    pairs = (is_known.sum(axis=0) * (is_known.sum(axis=0) - 1)).sum()
    products = columns.sum(axis=0) ** 2 - (columns**2).sum(axis=0)
    return float(np.sqrt(max(0.0, products.sum() / max(1, pairs))))


def _on_both_halves(planes: Sequence[Floats]) -> float:
    """Return the deviation along the roll that both halves of the width share.

    By quantiles of their sum and difference, so that single strips do not matter.
    """
    middle = planes[0].shape[1] // 2
    left = np.concatenate([np.nanmean(plane[:, :middle], axis=1) for plane in planes])
    right = np.concatenate([np.nanmean(plane[:, middle:], axis=1) for plane in planes])
    is_known = np.isfinite(left) & np.isfinite(right)
    if is_known.sum() < LEAST_CELLS:
        return 0.0
    left, right = left[is_known], right[is_known]
    left, right = left - np.median(left), right - np.median(right)
    return float(np.sqrt(max(0.0, _spread(left + right) ** 2 - _spread(left - right) ** 2)) / 2)


def _spread(values: Floats) -> float:
    """Return the standard deviation by the quantiles of 15 and 85 %: defects do not reach them."""
    low, high = np.quantile(values, [0.15, 0.85])
    return float(high - low) / 2.073
