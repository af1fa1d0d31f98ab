"""Convert places without a label to location tokens and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distill.labels.formats.location_tokens import bins_from_xy
from distill.labels.sets.annotations import BoxXyxy, PolygonXy


def place_text(place: BoxXyxy | PolygonXy, size_hw_px: tuple[int, int]) -> str:
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
