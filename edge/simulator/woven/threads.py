"""Draw single threads as they lie on cloth: round, uneven, frayed at their ends, with a soft shadow."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edge.simulator.planes import Plane, as_plane

SUBPIXEL_BITS = 4
LENS_PX = 0.6
"""Blur of the camera, as on the cloth around."""

SHADOW = 0.4
"""Depth of a shadow over the brightness of the thread."""


@dataclass(frozen=True, slots=True, eq=False)
class Threads:
    """Hold threads on a plane.

    Attributes:
        cover: (H, W) float32 in [0, 1], how much of a pixel they cover.
        light: (H, W) float32 in [0, 1], bright along their middle, darker towards their sides.
        shadow: (H, W) float32 in [0, 1], on what lies beside them.
    """

    cover: Plane
    light: Plane
    shadow: Plane


def lay_threads(
    size_hw: tuple[int, int], paths: list[Plane], thickness_px: float, rng: np.random.Generator
) -> Threads:
    """Lay threads along paths.

    Args:
        size_hw: lines and columns.
        paths: (N, 2) points x, y each.
        thickness_px: of a thread; it changes along the way.
        rng: where the numbers come from.
    """
    whole, middle = (np.zeros(size_hw, np.uint8) for _ in range(2))
    for path in paths:
        breadth_px = thickness_px * _uneven(len(path), rng)
        _fill(whole, path, breadth_px)
        _fill(middle, path, 0.45 * breadth_px)
    cover, core = (_blurred(as_plane(plane) / 255.0, LENS_PX) for plane in (whole, middle))
    reach_px = max(1.0, 0.6 * thickness_px)
    angle = rng.uniform(0, 2 * np.pi)
    moved = np.array([[1, 0, reach_px * np.cos(angle)], [0, 1, reach_px * np.sin(angle)]])
    shadow = cv2.warpAffine(cover, moved, size_hw[::-1])
    shadow = _blurred(as_plane(shadow), LENS_PX + 0.3 * reach_px) * (1 - cover)
    return Threads(cover, as_plane(0.55 * cover + 0.45 * core), as_plane(shadow))


def frayed(path: Plane, thickness_px: float, rng: np.random.Generator) -> list[Plane]:
    """Return a few fibres that spread from the last point of a path."""
    way = path[-1] - path[-min(len(path), 4)]
    heading = float(np.arctan2(way[1], way[0]))
    fibres = []
    for _ in range(int(rng.integers(2, 6))):
        turns = heading + rng.uniform(-0.7, 0.7) + np.cumsum(rng.normal(0, 0.25, 6))
        step_px = thickness_px * rng.uniform(0.2, 0.5)
        steps = np.stack((np.cos(turns), np.sin(turns)), axis=1) * step_px
        fibres.append(as_plane(path[-1] + np.cumsum(steps, axis=0)))
    return fibres


def _uneven(points: int, rng: np.random.Generator) -> Plane:
    """Return the thickness of a thread along its way over its mean; both ends taper."""
    noise = cv2.GaussianBlur(rng.standard_normal((points, 1)).astype(np.float32), (1, 9), 0)[:, 0]
    taper = np.clip(np.minimum(np.arange(points), np.arange(points)[::-1]) / 3 + 0.5, 0, 1)
    return as_plane(np.clip(1 + 0.5 * noise, 0.6, 1.5) * taper)


def _fill(canvas: np.ndarray, path: Plane, breadth_px: Plane) -> None:
    """Fill the outline of a thread, in place."""
    way = np.gradient(path, axis=0)
    normal = np.stack((-way[:, 1], way[:, 0]), axis=1)
    normal /= np.maximum(np.hypot(normal[:, 0], normal[:, 1]), 1e-6)[:, None]
    half = np.maximum(breadth_px, 0.7)[:, None] / 2
    left, right = path + normal * half, path - normal * half
    for first in range(len(path) - 1):
        corners = np.stack((left[first], left[first + 1], right[first + 1], right[first]))
        fixed = np.rint(corners * (1 << SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillConvexPoly(canvas, fixed, 255, cv2.LINE_AA, SUBPIXEL_BITS)


def _blurred(plane: Plane, sigma: float) -> Plane:
    return as_plane(cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT))
