"""Forms of defects made of yarn: broken end, broken pick, broken yarn and dropped stitch."""

from __future__ import annotations

import cv2
import numpy as np

from edge.simulator.patch import Figure
from edge.simulator.weave import Plane, as_plane, smooth_noise

VISIBLE = 0.18
"""Share of the peak below which a pixel counts as unchanged: keeps invisible skirts out of boxes."""

SUBPIXEL_BITS = 4


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
    picks = 0.82 + 0.18 * np.cos(2 * np.pi * rows / pick_px)
    taper = np.clip(np.minimum(rows + 1, lines - rows) / 5.0, 0, 1)
    body = np.abs(from_middle) < 0.46
    shade = rng.choice((-1.0, -1.0, 1.0)) * (gap * picks - 0.3 * flanks) * taper
    return Figure(as_plane(shade), as_plane(0.6 * gap * taper), np.broadcast_to(body, size_hw))


def draw_broken_pick(size_hw: tuple[int, int], end_px: float, rng: np.random.Generator) -> Figure:
    """Draw a missing weft yarn: a gap across the roll with the ends showing along it."""
    turned = draw_broken_end((size_hw[1], size_hw[0]), end_px, rng)
    shade, fade, body = (plane.T.copy() for plane in (turned.shade, turned.fade, turned.body))
    return Figure(shade, fade, body)


def draw_broken_yarn(size_hw: tuple[int, int], yarn_px: float, rng: np.random.Generator) -> Figure:
    """Draw a torn yarn whose loose end wanders over the cloth and casts a shadow.

    Args:
        size_hw: lines and columns of the figure; the thread reaches all four sides.
        yarn_px: thickness of the thread.
        rng: where the numbers come from.
    """
    lines, columns = size_hw
    thickness_px = max(2, round(yarn_px))
    points = _wandering(rng, steps=60)
    margin = thickness_px / 2 + 1
    points[:, 0] = margin + points[:, 0] * (columns - 1 - 2 * margin)
    points[:, 1] = margin + points[:, 1] * (lines - 1 - 2 * margin)
    thread = _polyline(size_hw, points, thickness_px)
    shadow = np.roll(thread, (1, 2), axis=(0, 1)) * (1 - thread)
    sign = rng.choice((-1.0, -1.0, 1.0))
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


def _polyline(size_hw: tuple[int, int], points: Plane, thickness_px: int) -> Plane:
    """Draw a smooth line through (N, 2) points x, y; (H, W) float32 in [0, 1]."""
    canvas = np.zeros(size_hw, dtype=np.uint8)
    fixed = np.rint(points * (1 << SUBPIXEL_BITS)).astype(np.int32)
    cv2.polylines(canvas, [fixed], False, 255, thickness_px, cv2.LINE_AA, SUBPIXEL_BITS)
    return cv2.GaussianBlur(canvas, (0, 0), 0.6).astype(np.float32) / 255.0
