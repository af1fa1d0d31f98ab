"""Draw cloth that does not lie flat, by the light on its slopes: crease and wrinkle."""

from __future__ import annotations

import cv2
import numpy as np

from edge.simulator.patch import Figure
from edge.simulator.planes import Plane, as_plane, smooth_noise
from edge.simulator.woven.softening import softened

CREASE_PX = (2.5, 7.0)
"""Breadth of the slope beside a fold line that was pressed into the cloth."""

LINE_POINTS = 128

RIDGES = (1, 4)
"""Least ridges of a wrinkle, and one more than the most."""


def draw_crease(size_hw: tuple[int, int], rng: np.random.Generator) -> Figure:
    """Draw a fold line that was pressed in, from corner to corner: a lit slope beside a shaded one.

    Args:
        size_hw: lines and columns of the figure.
        rng: where the numbers come from.
    """
    lines, columns = size_hw
    breadth_px = min(rng.uniform(*CREASE_PX), min(size_hw) / 5)
    margin = 2.2 * breadth_px
    start, end = (margin, margin), (columns - 1 - margin, lines - 1 - margin)
    if rng.random() < 0.5:
        start, end = (end[0], start[1]), (start[0], end[1])
    away, along = _from_fold(size_hw, start, end, rng.uniform(-0.08, 0.08), 0.03, rng)
    away = away / breadth_px
    lit, shaded = rng.uniform(0.5, 1.0), rng.uniform(0.6, 1.0)
    slope = np.where(away > 0, lit, shaded) * away * np.exp(0.5 - 0.5 * away**2) * rng.choice((-1.0, 1.0))
    ridge = rng.uniform(-0.5, 0.5) * np.exp(-((away / 0.45) ** 2))
    return softened((slope + ridge) * _pressed(along, rng), np.zeros(size_hw), lit=1.0)


def draw_wrinkle(size_hw: tuple[int, int], rng: np.random.Generator) -> Figure:
    """Draw cloth that was pushed together: one to three soft ridges, lit from one side, that run out.

    Args:
        size_hw: lines and columns of the figure.
        rng: where the numbers come from.
    """
    lines, columns = size_hw
    count = int(rng.integers(*RIDGES))
    breadth_px = min(size_hw) / (2.8 + 1.4 * count) * rng.uniform(0.6, 1.0)
    height = np.zeros(size_hw, np.float32)
    is_upright = lines > columns if abs(lines - columns) > 0.2 * columns else rng.random() < 0.5
    slant = rng.uniform(-0.7, 0.7)
    for number in range(count):
        at = (number + 0.5 + 0.25 * rng.uniform(-1, 1)) / count
        height += rng.uniform(0.6, 1.0) * _ridge(size_hw, at, slant, breadth_px, is_upright, rng)
    down, right = np.gradient(height)
    angle = rng.uniform(0, 2 * np.pi)
    if abs(np.cos(angle) if is_upright else np.sin(angle)) < 0.5:
        angle += np.pi / 2
    shade = (right * np.cos(angle) + down * np.sin(angle)) * _rim(size_hw)
    shade = shade / max(float(np.abs(shade).max()), 1e-6)
    shade = np.where(shade > 0, shade * rng.uniform(0.6, 1.0), shade)
    return softened(shade, np.zeros(size_hw), lit=1.0)


def _ridge(
    size_hw: tuple[int, int],
    at: float,
    slant: float,
    breadth_px: float,
    is_upright: bool,
    rng: np.random.Generator,
) -> Plane:
    """Return the height of one ridge from side to side of the figure: it swells and ebbs along its way."""
    lines, columns = size_hw if is_upright else size_hw[::-1]
    margin = 1.2 * breadth_px
    room = max(columns - 1 - 2 * margin, 1)
    first, last = (float(np.clip(at + side * slant / 2, 0, 1)) for side in (-1, 1))
    start, end = (margin + first * room, 2.0), (margin + last * room, lines - 3.0)
    away, along = _from_fold((lines, columns), start, end, rng.uniform(-0.15, 0.15), 0.1, rng)
    swell = np.sin(np.pi * np.clip(along, 0.02, 0.98)) ** rng.uniform(0.4, 1.0)
    steep = np.where(away > 0, rng.uniform(0.7, 1.3), 1.0)
    height = np.exp(-((away * steep / breadth_px) ** 2)) * swell
    return as_plane(height if is_upright else height.T)


def _rim(size_hw: tuple[int, int]) -> Plane:
    """Return 1 inside and a smooth fall to 0 at the sides."""
    sides = [np.minimum(np.arange(side), np.arange(side)[::-1]) / (0.12 * side) for side in size_hw]
    down, right = (np.clip(side, 0, 1) ** 2 * (3 - 2 * np.clip(side, 0, 1)) for side in sides)
    return as_plane(down[:, None] * right[None, :])


def _from_fold(
    size_hw: tuple[int, int],
    start: tuple[float, float],
    end: tuple[float, float],
    bow: float,
    waver: float,
    rng: np.random.Generator,
) -> tuple[Plane, Plane]:
    """Return for each pixel how far it lies from a bowed line, signed, and where along it, 0 to 1."""
    rows, columns = np.mgrid[0 : size_hw[0], 0 : size_hw[1]].astype(np.float32)
    way = np.array(end) - np.array(start)
    length_px = max(float(np.hypot(*way)), 1.0)
    x, y = columns - np.float32(start[0]), rows - np.float32(start[1])
    along = (x * way[0] + y * way[1]) / length_px**2
    step = np.linspace(0, 1, LINE_POINTS)
    noise = cv2.GaussianBlur(rng.standard_normal((LINE_POINTS, 1)), (1, 51), 0)[:, 0]
    off_px = length_px * (bow * 4 * step * (1 - step) + waver * noise * np.sin(np.pi * step))
    lean = np.hypot(1, np.gradient(off_px, length_px / (LINE_POINTS - 1)))
    at = np.rint(np.clip(along, 0, 1) * (LINE_POINTS - 1)).astype(np.intp)
    away = ((x * way[1] - y * way[0]) / length_px - off_px[at]) / lean[at]
    beyond_px = length_px * np.maximum(np.maximum(-along, along - 1), 0)
    return as_plane(np.copysign(np.hypot(away, beyond_px), away)), as_plane(np.clip(along, 0, 1))


def _pressed(along: Plane, rng: np.random.Generator) -> Plane:
    """Return how deep a crease is along its way: uneven, and running out at both ends."""
    noise = np.clip(smooth_noise(rng, (256, 1), (8, 2))[:, 0], -2, 2)
    depth = (1 + 0.2 * noise) * np.clip(
        np.minimum(np.linspace(0, 1, 256), np.linspace(1, 0, 256)) / 0.12, 0, 1
    )
    return as_plane(depth[np.rint(along * 255).astype(int)])
