"""Draw defects made of yarn: broken end, broken pick, broken yarn and dropped stitch."""

from __future__ import annotations

import cv2
import numpy as np

from edge.simulator.patch import Figure
from edge.simulator.planes import Plane, as_plane, smooth_noise

VISIBLE = 0.18
"""Fraction of the peak below which a pixel counts as unchanged: keeps invisible skirts out of boxes."""

SUBPIXEL_BITS = 4

NARROW = 3
"""A figure so many times as long as broad holds a thread that lies along the yarns."""

THICKNESS_PITCHES = (0.5, 2.0)
"""Thickness of a loose thread over the pitch. On real strips it is up to twice as thick as a woven one."""

TORN_FRACTION = 0.4
"""Fraction of the threads lying along the yarns that are torn in two."""


def draw_broken_end(size_hw: tuple[int, int], pick_px: float, rng: np.random.Generator) -> Figure:
    """Draw a missing warp yarn: a gap along the roll with the picks showing across it.

    Args:
        size_hw: lines and columns of the figure.
        pick_px: distance between the yarns that cross the gap.
        rng: where the numbers come from.
    """
    lines, columns = size_hw
    rows = np.arange(lines, dtype=np.float32)[:, None]
    sway = smooth_noise(rng, (lines, 1), (max(2, lines // 80), 2))[:, :1]
    middle = (columns - 1) / 2 + np.clip(sway, -1.5, 1.5) * columns * 0.07
    from_middle = (np.arange(columns, dtype=np.float32)[None, :] - middle) / columns
    gap = np.exp(-((from_middle / 0.2) ** 2))
    flanks = np.exp(-(((np.abs(from_middle) - 0.36) / 0.12) ** 2))
    depth = rng.uniform(0.1, 0.35)
    picks = 1 - depth + depth * np.cos(2 * np.pi * rows / pick_px)
    taper = np.clip(np.minimum(rows + 1, lines - rows) / 5.0, 0, 1)
    body = np.abs(from_middle) < 0.46
    shade = rng.choice((-1.0, -1.0, 1.0)) * (gap * picks - 0.3 * flanks) * taper
    return Figure(as_plane(shade), as_plane(0.6 * gap * taper), np.broadcast_to(body, size_hw))


def draw_broken_pick(size_hw: tuple[int, int], end_px: float, rng: np.random.Generator) -> Figure:
    """Draw a missing weft yarn: a gap across the roll with the ends showing along it."""
    turned = draw_broken_end((size_hw[1], size_hw[0]), end_px, rng)
    shade, fade, body = (plane.T.copy() for plane in (turned.shade, turned.fade, turned.body))
    return Figure(shade, fade, body)


def draw_broken_yarn(size_hw: tuple[int, int], pitch_px: float, rng: np.random.Generator) -> Figure:
    """Draw a torn yarn whose loose end lies on the cloth and casts a shadow.

    In a figure that is long and narrow it lies along the yarns, in any other it wanders.

    Args:
        size_hw: lines and columns of the figure; the thread reaches all four sides.
        pitch_px: distance between the yarns of the cloth: the thread is half to twice as thick.
        rng: where the numbers come from.
    """
    lines, columns = size_hw
    is_narrow = max(size_hw) >= NARROW * min(size_hw)
    thickness_px = max(2, round(pitch_px * float(np.exp(rng.uniform(*np.log(THICKNESS_PITCHES))))))
    thickness_px = min(thickness_px, max(2, min(size_hw) // (2 if is_narrow else 5)))
    points = _lying_along(rng, lines >= columns) if is_narrow else _wandering(rng, steps=60)
    margin = thickness_px / 2 + 1
    points[:, 0] = margin + points[:, 0] * (columns - 1 - 2 * margin)
    points[:, 1] = margin + points[:, 1] * (lines - 1 - 2 * margin)
    thread = _polyline(size_hw, points, thickness_px)
    if is_narrow:
        thread *= _broken_up(size_hw, pitch_px, rng)
    shadow = np.roll(thread, (1, 2), axis=(0, 1)) * (1 - thread)
    sign = rng.choice((-1.0, 1.0) if is_narrow else (-1.0, -1.0, 1.0))
    shade = sign * thread - 0.25 * shadow
    return Figure(as_plane(shade), as_plane(0.75 * thread), thread > VISIBLE)


def draw_dropped_stitch(size_hw: tuple[int, int], rng: np.random.Generator) -> Figure:
    """Draw loops that hang loose one behind the other: bright arcs over dark gaps."""
    lines, columns = size_hw
    along = lines >= columns
    length, breadth = (lines, columns) if along else (columns, lines)
    loops = max(2, round(length / (1.1 * breadth)))
    place = (np.arange(length, dtype=np.float32)[:, None] + 0.5) * loops / length
    inside = 2.0 * (place - np.floor(place)) - 1.0
    across = (np.arange(breadth, dtype=np.float32)[None, :] + 0.5) / breadth * 2.0 - 1.0
    bright = np.exp(-(((inside + 0.45) / 0.4) ** 2) - (across / 0.75) ** 2)
    dark = np.exp(-(((inside - 0.45) / 0.4) ** 2) - (across / 0.6) ** 2)
    shade = bright - dark * rng.uniform(0.7, 1.0)
    fade = 0.8 * np.maximum(bright, dark)
    body = np.maximum(bright, dark) > VISIBLE
    planes = (shade, fade, body) if along else (shade.T, fade.T, body.T)
    return Figure(as_plane(planes[0]), as_plane(planes[1]), np.ascontiguousarray(planes[2]))


def _wandering(rng: np.random.Generator, steps: int) -> Plane:
    """Return a smooth path of (steps, 2) points that fills the unit square from side to side."""
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(
        cv2.GaussianBlur(rng.standard_normal((steps, 1)), (1, 9), 0)[:, 0] * 0.55
    )
    path = np.cumsum(np.stack((np.cos(heading), np.sin(heading)), axis=1), axis=0)
    low, high = path.min(axis=0), path.max(axis=0)
    return as_plane((path - low) / np.maximum(high - low, 1e-6))


def _lying_along(rng: np.random.Generator, is_upright: bool) -> Plane:
    """Return a path of (N, 2) points from end to end of the unit square that sways from side to side."""
    along = np.linspace(0, 1, 60)
    noise = smooth_noise(rng, (60, 1), (int(rng.integers(2, 8)), 2))[:, :1]
    sway = cv2.GaussianBlur(noise, (1, 15), 0, borderType=cv2.BORDER_REPLICATE)[:, 0]
    across = (sway - sway.min()) / max(float(np.ptp(sway)), 1e-6)
    return as_plane(np.stack((across, along) if is_upright else (along, across), axis=1))


def _broken_up(size_hw: tuple[int, int], pitch_px: float, rng: np.random.Generator) -> Plane:
    """Return how much of a thread is seen along its way: yarns cross it, and it may be torn once."""
    length = max(size_hw)
    place = np.arange(length, dtype=np.float32)
    depth = rng.uniform(0, 0.4)
    seen = 1 - depth + depth * np.cos(2 * np.pi * place / (pitch_px * rng.uniform(1, 3)))
    if rng.random() < TORN_FRACTION:
        begin = rng.uniform(0.3, 0.7) * length
        seen[(place >= begin) & (place < begin + rng.uniform(0.03, 0.2) * length)] = 0
    return as_plane(seen[:, None] if size_hw[0] >= size_hw[1] else seen[None, :])


def _polyline(size_hw: tuple[int, int], points: Plane, thickness_px: int) -> Plane:
    """Draw a smooth line through (N, 2) points x, y; (H, W) float32 in [0, 1]."""
    canvas = np.zeros(size_hw, dtype=np.uint8)
    fixed = np.rint(points * (1 << SUBPIXEL_BITS)).astype(np.int32)
    cv2.polylines(canvas, [fixed], False, 255, thickness_px, cv2.LINE_AA, SUBPIXEL_BITS)
    return cv2.GaussianBlur(canvas, (0, 0), 0.6).astype(np.float32) / 255.0
