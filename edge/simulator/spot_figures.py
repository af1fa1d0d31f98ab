"""Draw defects that are spots: hole, nep and stain."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.simulator.patch import Figure
from edge.simulator.planes import Plane, as_plane, smooth_noise

SUBPIXEL_BITS = 4


def draw_hole(size_hw: tuple[int, int], rng: np.random.Generator) -> Figure:
    """Draw a hole: the dark ground shows through, torn yarns fringe it and a bright rim rings it.

    Args:
        size_hw: lines and columns of the figure.
        rng: where the numbers come from.
    """
    whole = blob(size_hw, rng, roughness=0.22)
    border_px = max(1.5, 0.11 * min(size_hw))
    depth_px = depth_inside(whole)
    inner = np.clip((depth_px - border_px) / 1.5, 0, 1)
    rim = np.clip(depth_px / 1.5, 0, 1) * (1 - inner)
    fringe = np.clip(smooth_noise(rng, size_hw, (size_hw[0] // 3, size_hw[1] // 3)) - 1.1, 0, 1)
    inner = inner * (1 - 0.7 * fringe)
    shade = 0.35 * rim - inner
    return Figure(as_plane(shade), as_plane(0.95 * inner + 0.3 * rim), whole)


def draw_nep(size_hw: tuple[int, int], rng: np.random.Generator) -> Figure:
    """Draw a knot of fibre: a small hard core in a thin haze, with a shadow on one side."""
    lines, columns = size_hw
    rows, across = np.mgrid[0:lines, 0:columns].astype(np.float32)
    down, right = 2 * (rows + 0.5) / lines - 1, 2 * (across + 0.5) / columns - 1
    radius = np.sqrt(down**2 + right**2) * (1 + 0.15 * np.sin(3 * np.arctan2(down, right)))
    core = np.clip(1.4 - 1.6 * radius, 0, 1)
    sign = rng.choice((-1.0, -1.0, 1.0))
    shadow = np.clip(1 - np.hypot(down - 0.45, right - 0.45) / 0.5, 0, 1) * (1 - core)
    shade = sign * core - 0.3 * shadow
    body = (core > 0.0) | (radius < 0.92)
    return Figure(as_plane(shade), as_plane(0.8 * core), body)


def draw_stain(size_hw: tuple[int, int], rng: np.random.Generator) -> Figure:
    """Draw a spot of oil, water or dye: an uneven shade with a soft, sometimes darker, rim."""
    whole = blob(size_hw, rng, roughness=0.3)
    depth_px = depth_inside(whole)
    softness_px = max(1.5, min(size_hw) * rng.uniform(0.05, 0.15))
    level = np.clip(depth_px / softness_px, 0, 1)
    level *= 1 + 0.2 * np.clip(smooth_noise(rng, size_hw, (4, 4)), -1.5, 1.5)
    ring = np.exp(-(((depth_px - 1.5 * softness_px) / softness_px) ** 2))
    shade = level * 0.8 + rng.choice((0.0, 0.35)) * ring
    sign = rng.choice((-1.0, -1.0, -1.0, 1.0))
    return Figure(as_plane(sign * shade), np.zeros(size_hw, dtype=np.float32), whole & (level > 0.12))


def blob(size_hw: tuple[int, int], rng: np.random.Generator, roughness: float) -> NDArray[np.bool_]:
    """Draw a filled uneven outline that touches all four sides: (H, W) bool."""
    lines, columns = size_hw
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    radius = np.ones_like(angles)
    for wave in range(2, 7):
        radius += (
            roughness / wave * 2 * rng.standard_normal() * np.cos(wave * angles + rng.uniform(0, 2 * np.pi))
        )
    radius = np.maximum(radius, 0.35)
    points = np.stack((radius * np.cos(angles), radius * np.sin(angles)), axis=1)
    low, high = points.min(axis=0), points.max(axis=0)
    points = (points - low) / (high - low) * (columns - 1, lines - 1)
    canvas = np.zeros(size_hw, dtype=np.uint8)
    fixed = np.rint(points * (1 << SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], 1, cv2.LINE_8, SUBPIXEL_BITS)
    return canvas.astype(bool)


def depth_inside(whole: NDArray[np.bool_]) -> Plane:
    """Return how far each pixel lies inside an outline, in pixels; 0 outside."""
    framed = cv2.copyMakeBorder(whole.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return as_plane(cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1])
