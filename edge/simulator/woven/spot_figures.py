"""Draw defects that are spots, as a camera sees them: hole, nep, knot and stain."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.simulator.patch import Figure
from edge.simulator.planes import Plane, as_plane, smooth_noise
from edge.simulator.spot_figures import blob, depth_inside
from edge.simulator.woven.softening import softened
from edge.simulator.woven.thread_figures import draw_slub
from edge.simulator.woven.threads import LENS_PX, SHADOW, lay_threads

SLUB_PROPORTION = 2.2
"""A nep is round; what is so many times as long as broad is a slub."""

KNOT_FRACTION = 0.4
LEAST_KNOT_PX = 10
"""What is smaller shows no tails: it is a tangle of fibre."""

BACKLIT_FRACTION = 0.15
"""Fraction of holes with something bright behind the cloth."""


def draw_hole(size_hw: tuple[int, int], end_px: float, pick_px: float, rng: np.random.Generator) -> Figure:
    """Draw a hole: torn ends and picks reach into it, what lies behind the cloth shows through.

    Args:
        size_hw: lines and columns of the figure.
        end_px, pick_px: distances between warp and between weft yarns.
        rng: where the numbers come from.
    """
    whole = blob(size_hw, rng, roughness=0.2)
    rim_px = max(1.2, 0.07 * min(size_hw))
    depth_px = depth_inside(whole)
    inner = np.asarray(depth_px > rim_px, np.bool_)
    warp = _torn(inner, end_px, 0.2 * size_hw[0], rng)
    weft = _torn(np.ascontiguousarray(inner.T), pick_px, 0.2 * size_hw[1], rng).T
    yarn = np.maximum(warp, weft)
    open_ = cv2.GaussianBlur(as_plane(inner), (0, 0), LENS_PX) * (1 - 0.9 * yarn)
    rim = np.clip(depth_px / rim_px, 0, 1) * (1 - as_plane(inner))
    moved = np.roll(rim, (int(rng.integers(1, 3)), int(rng.integers(-2, 3))), axis=(0, 1))
    behind = 1.0 if rng.random() < BACKLIT_FRACTION else -1.0
    uneven = 1 + 0.1 * np.clip(smooth_noise(rng, size_hw, (3, 3)), -1.5, 1.5)
    shade = behind * open_ * uneven + 0.3 * rim - 0.2 * moved * (1 - rim) + 0.25 * yarn * as_plane(inner)
    return softened(shade, 0.95 * open_ + 0.35 * rim + 0.5 * yarn * as_plane(inner))


def _torn(inner: NDArray[np.bool_], pitch_px: float, reach_px: float, rng: np.random.Generator) -> Plane:
    """Return how much of each pixel of a hole is covered by torn yarns that run down from above and up."""
    lines, columns = inner.shape
    yarns = max(2, round(columns / max(pitch_px, 2.0)))
    place = (np.arange(columns, dtype=np.float32) + 0.5) * yarns / columns
    yarn = place.astype(np.intp)
    round_ = np.sqrt(np.clip(1 - ((place - yarn - 0.5) * 2.4) ** 2, 0, 1))
    has_hole = np.asarray(inner.any(axis=0), np.float32)
    top, bottom = inner.argmax(axis=0), lines - inner[::-1].argmax(axis=0)
    rows = np.arange(lines, dtype=np.float32)[:, None]
    cover = np.zeros(inner.shape, np.float32)
    for from_edge in (rows - top[None, :], bottom[None, :] - rows):
        length = np.clip(rng.exponential(reach_px / 2, yarns), 0, 1.6 * reach_px).take(yarn)[None, :]
        cover = np.maximum(cover, np.clip((length - from_edge) / 1.5, 0, 1) * round_[None, :])
    return as_plane(cv2.GaussianBlur(as_plane(cover * has_hole[None, :]), (0, 0), 0.5))


def draw_nep(size_hw: tuple[int, int], pitch_px: float, rng: np.random.Generator) -> Figure:
    """Draw a nep, a knot with its tails, or, in a long figure, a slub."""
    if max(size_hw) >= SLUB_PROPORTION * min(size_hw):
        return draw_slub(size_hw, rng)
    is_knot = min(size_hw) >= LEAST_KNOT_PX and rng.random() < KNOT_FRACTION
    return _knot(size_hw, pitch_px, rng) if is_knot else _tangle(size_hw, rng)


def _tangle(size_hw: tuple[int, int], rng: np.random.Generator) -> Figure:
    """Draw a small ball of tangled fibre: dense in its middle, single fibres around."""
    lines, columns = size_hw
    middle = np.array([columns - 1, lines - 1]) / 2
    fibres: list[Plane] = []
    for _ in range(int(rng.integers(9, 16))):
        turns = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0.25, 0.35, 14))
        walk = np.cumsum(np.stack((np.cos(turns), np.sin(turns)), axis=1), axis=0)
        walk = (walk - walk.mean(axis=0)) / max(float(np.abs(walk - walk.mean(axis=0)).max()), 1e-6)
        reach = rng.uniform(0.35, 0.92)
        fibres.append(as_plane(middle + walk * reach * middle))
    threads = lay_threads(size_hw, fibres, max(0.9, min(size_hw) / 14), rng)
    rows, across = np.mgrid[0:lines, 0:columns].astype(np.float32)
    radius = np.hypot((rows - middle[1]) / lines, (across - middle[0]) / columns) * 2
    core = np.clip(1.35 - 1.9 * radius, 0, 1)
    ball = np.maximum(core, 0.6 * threads.light)
    shadow = np.roll(cv2.GaussianBlur(as_plane(core), (0, 0), 1.2), (1, 1), axis=(0, 1)) * (1 - ball)
    sign = float(rng.choice((-1.0, 1.0)))
    return softened(sign * ball - SHADOW * shadow, np.maximum(0.8 * core, 0.5 * threads.cover))


def _knot(size_hw: tuple[int, int], pitch_px: float, rng: np.random.Generator) -> Figure:
    """Draw a knot: a hard lump as broad as two or three yarns, with two cut tails and a shadow."""
    lines, columns = size_hw
    middle = np.array([columns - 1, lines - 1]) / 2
    thickness_px = float(np.clip(0.8 * pitch_px, 1.2, min(size_hw) / 6))
    first = rng.uniform(0, 2 * np.pi)
    tails: list[Plane] = []
    for heading in (first, first + np.pi + rng.uniform(-0.8, 0.8)):
        turns = heading + np.cumsum(rng.normal(0, 0.12, 12))
        walk = np.cumsum(np.stack((np.cos(turns), np.sin(turns)), axis=1), axis=0)
        walk = walk / max(float(np.abs(walk).max()), 1e-6)
        tails.append(as_plane(middle + walk * (middle - 1)))
    threads = lay_threads(size_hw, tails, thickness_px, rng)
    rows, across = np.mgrid[0:lines, 0:columns].astype(np.float32)
    side = float(np.clip(1.4 * thickness_px, 2.0, min(size_hw) / 3.2))
    angle = rng.uniform(0, np.pi)
    x, y = across - middle[0], rows - middle[1]
    long, wide = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    lump = np.sqrt(np.clip(1 - (long / (1.3 * side)) ** 2 - (wide / side) ** 2, 0, 1))
    lump = cv2.GaussianBlur(as_plane(lump), (0, 0), LENS_PX)
    shadow = np.roll(cv2.GaussianBlur(lump, (0, 0), 1.0), (2, 1), axis=(0, 1)) * (1 - lump)
    light = np.maximum(lump, 0.7 * threads.light)
    sign = float(rng.choice((-1.0, 1.0, 1.0)))
    shade = sign * light - 0.6 * shadow - SHADOW * threads.shadow * (1 - lump)
    return softened(shade, np.maximum(0.9 * np.minimum(1.5 * lump, 1), 0.8 * threads.cover))


def draw_stain(size_hw: tuple[int, int], end_px: float, pick_px: float, rng: np.random.Generator) -> Figure:
    """Draw a drop of oil or water: it darkens the yarns that soaked it up, and creeps along them.

    Args:
        size_hw: lines and columns of the figure.
        end_px, pick_px: distances between warp and between weft yarns.
        rng: where the numbers come from.
    """
    whole = blob(size_hw, rng, roughness=0.22)
    depth_px = depth_inside(whole) + _crept(size_hw, end_px, pick_px, rng) * whole
    softness_px = max(2.0, min(size_hw) * rng.uniform(0.12, 0.35))
    level = 1 - np.exp(-np.maximum(depth_px, 0) / softness_px * 1.6)
    level *= 1 + 0.15 * np.clip(smooth_noise(rng, size_hw, (4, 4)), -1.5, 1.5)
    dried = np.exp(-(((depth_px - 1.2 * softness_px) / (0.6 * softness_px)) ** 2))
    shade = level + rng.choice((0.0, 0.0, 0.3)) * dried
    soft = cv2.GaussianBlur(as_plane(shade * whole), (0, 0), 1.0, borderType=cv2.BORDER_CONSTANT)
    sign = float(rng.choice((-1.0, -1.0, -1.0, -1.0, 1.0)))
    return softened(sign * soft, np.zeros(size_hw), lit=1.0)


def _crept(size_hw: tuple[int, int], end_px: float, pick_px: float, rng: np.random.Generator) -> Plane:
    """Return how much farther the liquid came along each yarn, in pixels."""
    reach_px = 0.05 * min(size_hw)
    total = np.zeros(size_hw, np.float32)
    for axis, pitch_px in ((1, end_px), (0, pick_px)):
        yarns = max(2, round(size_hw[axis] / pitch_px))
        drawn = cv2.resize(rng.standard_normal((1, yarns)).astype(np.float32), (size_hw[axis], 1))
        total += (drawn if axis == 1 else drawn.T) * np.float32(reach_px)
    return as_plane(np.clip(total, -2 * reach_px, 2 * reach_px))
