"""Draw defects made of yarn as a camera sees them: broken end and pick, loose yarn, float, slub."""

from __future__ import annotations

import cv2
import numpy as np

from edge.simulator.patch import Figure
from edge.simulator.planes import Plane, as_plane, smooth_noise
from edge.simulator.woven.softening import softened
from edge.simulator.woven.threads import LENS_PX, SHADOW, frayed, lay_threads

MISSING_YARNS = (0.9, 1.6)
"""Breadth of the gap that a missing yarn leaves, in pitches: its neighbours close a part of it."""

TAIL_FRACTION = 0.8
"""Fraction of broken ends and picks whose loose tails are seen."""

THICKNESS_PITCHES = (0.7, 1.3)
PATH_POINTS = 60


def draw_broken_end(
    size_hw: tuple[int, int], end_px: float, pick_px: float, rng: np.random.Generator
) -> Figure:
    """Draw a missing warp yarn: a gap along the roll that the picks cross, and loose tails at its ends.

    Args:
        size_hw: lines and columns of the figure.
        end_px: distance between the yarns of which one is missing.
        pick_px: distance between the yarns that cross the gap.
        rng: where the numbers come from.
    """
    lines, columns = size_hw
    gap_px = min(end_px * rng.uniform(*MISSING_YARNS), 0.4 * columns)
    has_tails = columns < 2.5 * gap_px or rng.random() < TAIL_FRACTION
    rows = np.arange(lines, dtype=np.float32)[:, None]
    sway = np.clip(smooth_noise(rng, (lines, 1), (max(2, lines // 120), 2))[:, :1], -2, 2) * 0.15 * gap_px
    away = (np.arange(columns, dtype=np.float32)[None, :] - (columns - 1) / 2 - sway) / gap_px
    gap = np.exp(-(np.abs(away / 0.75) ** 3))
    beside = np.exp(-(((np.abs(away) - 1.2) / 0.45) ** 2))
    depth = rng.uniform(0.15, 0.45)
    crossed = 1 - depth + depth * np.sin(np.pi * rows / pick_px + rng.uniform(0, 6))
    along = np.clip(smooth_noise(rng, (lines, 1), (max(2, lines // 25), 2))[:, :1], -2, 2)
    taper = np.clip(np.minimum(rows + 1, lines - rows) / (2 * pick_px), 0, 1)
    sign = float(rng.choice((-1.0, -1.0, -1.0, 1.0)))
    shade = sign * (gap * crossed * (1 + 0.15 * along) - 0.3 * beside) * taper
    fade = 0.5 * gap * taper
    if has_tails:
        threads = _tails(size_hw, gap_px, end_px, rng)
        shade = shade * (1 - threads[1]) + threads[0]
        fade = np.maximum(fade, 0.8 * threads[1])
    return softened(shade, fade, lit=0.5)


def _tails(
    size_hw: tuple[int, int], gap_px: float, end_px: float, rng: np.random.Generator
) -> tuple[Plane, Plane]:
    """Return shade and cover of the loose tails of a broken yarn: they curl beside the gap."""
    lines, columns = size_hw
    thickness_px = float(np.clip(0.8 * end_px, 1.2, columns / 4))
    margin = thickness_px / 2 + 0.5
    paths: list[Plane] = []
    for start, way in ((0.0, 1.0), (lines - 1.0, -1.0)):
        length = min(0.45 * lines, rng.uniform(1.5, 5) * columns)
        step = np.linspace(0, 1, 24)
        side = rng.choice((-1.0, 1.0))
        bend = side * np.sin(np.pi * step * rng.uniform(0.6, 1.6)) * (columns / 2 - margin)
        y = start + way * (margin + step * length)
        paths.append(as_plane(np.stack(((columns - 1) / 2 + bend, y), axis=1)))
    fibres = [fibre for path in paths for fibre in frayed(path, thickness_px, rng)]
    threads, hairs = (
        lay_threads(size_hw, drawn, thick, rng) for drawn, thick in ((paths, thickness_px), (fibres, 0.5))
    )
    light = threads.light + 0.4 * hairs.cover * (1 - threads.cover)
    sign = float(rng.choice((-0.7, 1.0, 1.0)))
    return as_plane(sign * light - SHADOW * threads.shadow), threads.cover


def draw_broken_pick(
    size_hw: tuple[int, int], pick_px: float, end_px: float, rng: np.random.Generator
) -> Figure:
    """Draw a missing weft yarn: a gap across the roll that the ends cross."""
    return turned(draw_broken_end((size_hw[1], size_hw[0]), pick_px, end_px, rng))


def turned(figure: Figure) -> Figure:
    """Turn a figure by a quarter: rows become columns."""
    shade, fade, body = (
        np.ascontiguousarray(plane.T) for plane in (figure.shade, figure.fade, figure.body)
    )
    return Figure(shade, fade, body, figure.lit)


def draw_loose_yarn(size_hw: tuple[int, int], pitch_px: float, rng: np.random.Generator) -> Figure:
    """Draw a torn yarn whose loose end lies on the cloth, frayed, and casts a shadow.

    In a figure that is long and narrow it lies along the yarns, in any other it wanders.
    """
    lines, columns = size_hw
    is_narrow = max(size_hw) >= 3 * min(size_hw)
    thickness_px = float(pitch_px * np.exp(rng.uniform(*np.log(THICKNESS_PITCHES))))
    thickness_px = float(np.clip(thickness_px, 1.3, min(size_hw) / (2.5 if is_narrow else 5)))
    path = _lying(rng, lines >= columns) if is_narrow else _wandering(rng)
    margin = thickness_px / 2 + 1
    path = as_plane(margin + path * (np.array([columns, lines]) - 1 - 2 * margin))
    threads = lay_threads(size_hw, [path], thickness_px, rng)
    hairs = lay_threads(size_hw, frayed(path, 1.5 * thickness_px, rng), 0.5, rng)
    sign = float(rng.choice((-1.0, 1.0)))
    shade = sign * (threads.light + 0.4 * hairs.cover * (1 - threads.cover)) - SHADOW * threads.shadow
    return softened(shade, 0.85 * threads.cover)


def draw_floats(size_hw: tuple[int, int], pitch_px: float, rng: np.random.Generator) -> Figure:
    """Draw yarns that float over their neighbours in place of being bound: smooth, bright, uneven."""
    lines, columns = size_hw
    if columns > lines:
        return turned(draw_floats((columns, lines), pitch_px, rng))
    count = max(1, round(columns / max(2.2, pitch_px * rng.uniform(1.0, 1.4))))
    step = np.linspace(0, 1, 20)
    paths, pitch = [], columns / count
    lengths = np.stack((rng.uniform(0, 0.4, count), rng.uniform(0.6, 1, count)), axis=1)
    lengths[rng.integers(count)] = 0, 1
    for number, (first, last) in enumerate(lengths):
        x = (number + 0.5) * pitch - 0.5 + 0.2 * pitch * np.sin(np.pi * step) * rng.uniform(-1, 1)
        paths.append(as_plane(np.stack((x, (first + (last - first) * step) * (lines - 1)), axis=1)))
    threads = lay_threads(size_hw, paths, 0.75 * pitch, rng)
    rows = np.linspace(-1, 1, lines, dtype=np.float32)[:, None]
    arch = 1 - 0.6 * np.abs(rows) ** 3 + 0.25 * np.clip(smooth_noise(rng, size_hw, (3, count)), -1, 1)
    between = np.clip(cv2.GaussianBlur(threads.cover, (0, 0), 0.6 * pitch) - threads.cover, 0, 1)
    shade = threads.light * arch - 0.8 * between - SHADOW * threads.shadow
    return softened(shade, 0.8 * threads.cover)


def draw_slub(size_hw: tuple[int, int], rng: np.random.Generator) -> Figure:
    """Draw a thick place of a yarn: a soft spindle along it that pushes its neighbours aside."""
    lines, columns = size_hw
    if columns > lines:
        return turned(draw_slub((columns, lines), rng))
    along = np.linspace(-1, 1, lines, dtype=np.float32)[:, None]
    middle = np.clip(smooth_noise(rng, (lines, 1), (3, 2))[:, :1], -1, 1) * 0.06 * columns
    across = np.arange(columns, dtype=np.float32)[None, :] - (columns - 1) / 2 - middle
    lean = rng.uniform(-0.35, 0.35)
    breadth = np.clip(1 - np.abs(along - lean * (1 - along**2)) ** 1.6, 0, 1) * columns / 2 * 0.85
    place = across / np.maximum(breadth, 0.8)
    round_ = np.sqrt(np.clip(1 - place**2, 0, 1)) * np.clip(breadth, 0, 1)
    twist = 0.12 * np.sin(2 * np.pi * (along * lines / (1.4 * columns)) + 2.5 * place)
    shadow = np.clip(cv2.GaussianBlur(round_, (0, 0), 1.2) - round_, 0, 1)
    light = cv2.GaussianBlur(as_plane(round_ * (0.9 + twist)), (0, 0), LENS_PX)
    sign = float(rng.choice((-0.7, 1.0, 1.0)))
    return softened(sign * light - 0.7 * shadow, 0.6 * light, lit=0.5)


def _wandering(rng: np.random.Generator) -> Plane:
    """Return a smooth path of (N, 2) points that fills the unit square from side to side."""
    turns = cv2.GaussianBlur(rng.standard_normal((PATH_POINTS, 1)), (1, 13), 0)[:, 0] * 0.6
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(turns)
    path = np.cumsum(np.stack((np.cos(heading), np.sin(heading)), axis=1), axis=0)
    low, high = path.min(axis=0), path.max(axis=0)
    return as_plane((path - low) / np.maximum(high - low, 1e-6))


def _lying(rng: np.random.Generator, is_upright: bool) -> Plane:
    """Return a path of (N, 2) points from end to end of the unit square that sways from side to side."""
    along = np.linspace(0, 1, PATH_POINTS)
    noise = smooth_noise(rng, (PATH_POINTS, 1), (int(rng.integers(2, 6)), 2))[:, :1]
    sway = cv2.GaussianBlur(noise, (1, 21), 0, borderType=cv2.BORDER_REPLICATE)[:, 0]
    across = (sway - sway.min()) / max(float(np.ptp(sway)), 1e-6)
    return as_plane(np.stack((across, along) if is_upright else (along, across), axis=1))
