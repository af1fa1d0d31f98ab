"""Say in metres of cloth what so many images a second come to, and ratios as they are printed."""

from __future__ import annotations

from typing import TypedDict

from edge.cameras.protocol import Frame

SCALE_UNKNOWN = "m/min not known without a scale: add --mm-per-px"


class Capacity(TypedDict):
    """Cloth of a width that passes in a minute, without gap or overlap, at a scale."""

    m_per_min: float
    width_m: float
    mm_per_px: float


def capacity(frame: Frame, lines: int, frames_hz: float) -> Capacity | None:
    """State what so many images a second come to; None where the scale is not known.

    Args:
        lines: of each image that are new cloth.
    """
    mm_per_px = frame.mm_per_px_across
    if mm_per_px is None:
        return None
    mm_per_line = frame.position.mm_per_px_along if frame.position else mm_per_px
    return {
        "m_per_min": round(frames_hz * lines * mm_per_line / 1000 * 60, 2),
        "width_m": round(frame.image.shape[1] * mm_per_px / 1000, 3),
        "mm_per_px": mm_per_px,
    }


def in_words(can: Capacity | None) -> str:
    """Say it for the person at the loom."""
    if can is None:
        return SCALE_UNKNOWN
    return f"{can['m_per_min']:.1f} m/min x {can['width_m']:.2f} m at {can['mm_per_px']:g} mm/px"


def printed_ratio(of: float, to: float, digits: int, ratio_digits: int) -> float:
    """Return the ratio of two numbers as both are printed: who divides what stands there gets the same.

    Args:
        digits: behind the point, of both numbers.
        ratio_digits: of the ratio.
    """
    shown = round(to, digits)
    return round(round(of, digits) / shown, ratio_digits) if shown else 0.0
