"""Draw defects that bend the cloth and leave its yarns whole: crease and wrinkle."""

from __future__ import annotations

import numpy as np

from edge.simulator.patch import Figure
from edge.simulator.planes import as_plane

CREASE_BREADTH_PX = (9.0, 16.0)
WAVES = (1.5, 3.5)


def draw_crease(size_hw: tuple[int, int], rng: np.random.Generator) -> Figure:
    """Draw a fold line that runs from corner to corner: a lit flank beside a shaded one.

    Args:
        size_hw: lines and columns of the figure.
        rng: where the numbers come from.
    """
    lines, columns = size_hw
    rows, across = np.mgrid[0:lines, 0:columns].astype(np.float32)
    if rng.random() < 0.5:
        across = columns - 1 - across
    breadth_px = rng.uniform(*CREASE_BREADTH_PX)
    margin = breadth_px / 2
    down, right = (rows - margin) / (lines - 2 * margin), (across - margin) / (columns - 2 * margin)
    bow = rng.uniform(-0.35, 0.35)
    length_px = float(np.hypot(lines - 2 * margin, columns - 2 * margin))
    steepness = (lines - 2 * margin) * (columns - 2 * margin) / length_px
    along = np.clip((down + right) / 2, 0, 1)
    from_fold = (down - right + bow * 4 * along * (1 - along) * 0.3) * steepness / breadth_px * 2
    lit = np.exp(-(((from_fold - 0.4) / 0.4) ** 2))
    shaded = np.exp(-(((from_fold + 0.4) / 0.4) ** 2))
    taper = np.clip(np.minimum(along, 1 - along) * length_px / 12, 0.0, 1)
    inside = (np.minimum(down, right) > -0.5 / length_px) & (np.maximum(down, right) < 1.02)
    lit_fraction = rng.uniform(0.3, 1.0)
    shade = (lit * lit_fraction - shaded) * taper * rng.choice((-1.0, 1.0))
    body = (np.abs(from_fold) < 1.0) & (taper > 0.1) & inside
    return Figure(as_plane(shade), np.zeros(size_hw, dtype=np.float32), body)


def draw_wrinkle(size_hw: tuple[int, int], rng: np.random.Generator) -> Figure:
    """Draw cloth that lies in waves: light and shade run side by side and fade out at the rim.

    Args:
        size_hw: lines and columns of the figure.
        rng: where the numbers come from.
    """
    lines, columns = size_hw
    rows, across = np.mgrid[0:lines, 0:columns].astype(np.float32)
    down, right = 2 * (rows + 0.5) / lines - 1, 2 * (across + 0.5) / columns - 1
    angle = rng.uniform(0, np.pi)
    over_waves = down * np.sin(angle) + right * np.cos(angle)
    along_waves = down * np.cos(angle) - right * np.sin(angle)
    bend = rng.uniform(0.05, 0.3) * np.sin(along_waves * rng.uniform(1, 3) + rng.uniform(0, 6))
    phase = np.pi * rng.uniform(*WAVES) * (over_waves + bend) + rng.uniform(0, 2 * np.pi)
    radius = np.abs(down) ** 2.5 + np.abs(right) ** 2.5
    rim = np.clip(1.5 * (1 - radius), 0, 1)
    wave = np.sin(phase) + 0.35 * np.sin(2 * phase + 1.0)
    shade = wave / 1.2 * rim
    return Figure(as_plane(shade), np.zeros(size_hw, dtype=np.float32), rim > 0.2)
