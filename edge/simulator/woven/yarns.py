"""Make yarns uneven: thickness along each, places beside each other, and the light of single floats."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.simulator.planes import Plane, as_plane, smooth_noise
from edge.simulator.weave import blur_wrapped
from edge.simulator.woven.article import Article
from edge.simulator.woven.interlacing import THICKER

WAVES_PX = (6.0, 25.0, 110.0, 450.0)
WAVE_FRACTIONS = (0.35, 0.5, 0.6, 0.5)
"""Lengths and deviations of what the thickness of a spun yarn is made of: its irregularity has all
wavelengths, from a few fibres to the draft of the frame. Squares sum to about 1."""

MOST_DEVIATIONS = 2.2
"""No yarn is thicker or thinner: beyond it begins what counts as a defect."""

FIBRE_PX = 7


def uneven_floats(article: Article, picks: int, ends: int, rng: np.random.Generator) -> Plane:
    """Draw what tells each float from the next; the pick after the last is the first.

    Returns:
        (picks, ends, 4) float32: change of the thickness of the end and of the pick, and of the brightness
        of a float of the warp and of one of the weft, fractions.
    """
    of_warp = _thickness(rng, (picks, ends), article.weft_pitch_px)
    of_weft = _thickness(rng, (ends, picks), article.warp_pitch_px).T
    limits = -THICKER, THICKER
    warp_light, weft_light = _float_lights(article, (picks, ends), rng)
    return np.dstack((
        np.clip(of_warp * np.float32(article.thickness), *limits),
        np.clip(of_weft * np.float32(article.thickness), *limits),
        warp_light * _end_lights(article, ends, rng) - 1,
        weft_light * _pick_lights(article, picks, rng)[:, None] - 1,
    ))  # fmt: skip


def _thickness(rng: np.random.Generator, size: tuple[int, int], pitch_px: float) -> Plane:
    """Draw how thick yarns are along their way, standard deviation about 1; a column is a yarn."""
    total = np.zeros(size, np.float32)
    for wave_px, fraction in zip(WAVES_PX, WAVE_FRACTIONS, strict=True):
        points = max(2, round(size[0] * pitch_px / wave_px))
        total += smooth_noise(rng, size, (points, size[1])) * np.float32(fraction)
    return as_plane(np.clip(total, -MOST_DEVIATIONS, MOST_DEVIATIONS))


def end_places(article: Article, columns: int, rng: np.random.Generator) -> Plane:
    """Return the place of each column among the ends, in ends: (columns,) float32."""
    place = np.arange(columns, dtype=np.float32) / np.float32(article.warp_pitch_px)
    for grid_px in (30, 150, 700):
        points = max(2, round(columns / grid_px))
        drawn = rng.standard_normal((1, points), dtype=np.float32)
        place += cv2.resize(drawn, (columns, 1), interpolation=cv2.INTER_CUBIC)[0] * np.float32(0.15)
    turn = 2 * np.pi / article.dent
    place += np.float32(article.reed_mark / turn * 2) * np.sin(turn * place + np.float32(rng.uniform(0, 6)))
    return as_plane(place + np.float32(rng.uniform(0, 100)))


def strayed(article: Article, size_hw: tuple[int, int], rng: np.random.Generator) -> tuple[Plane, Plane]:
    """Draw how far ends stray from their lines, (H, W), and how picks are bowed, (1, W), in pixels."""
    lines, columns = size_hw
    grid = (max(2, lines // 40), max(2, columns // 40))
    across = smooth_noise(rng, size_hw, grid) * np.float32(article.crookedness_px)
    bow = smooth_noise(rng, (2, columns), (2, max(2, columns // 300)))[:1] * np.float32(1.5)
    waver = smooth_noise(rng, (2, columns), (2, max(2, columns // 30)))[:1]
    return across, as_plane(bow + waver * np.float32(article.crookedness_px))


def _float_lights(article: Article, size: tuple[int, int], rng: np.random.Generator) -> tuple[Plane, Plane]:
    """Draw the brightness of single floats of warp and of weft, mean about 1: a few catch the light.

    Returns:
        Twice (picks, ends) float32: floats of the warp run down, those of the weft across.
    """
    over = np.asarray(article.repeat)
    lengths = int(over.sum(axis=0).max()), int((1 - over).sum(axis=1).max())
    lights = []
    for length, window in zip(lengths, ((1, lengths[0]), (lengths[1], 1)), strict=True):
        drawn = np.clip(rng.standard_normal(size, dtype=np.float32), -2.5, 2.5)
        mixed = cv2.blur(drawn, window) * np.float32(np.sqrt(length))
        light = np.exp(np.float32(1.3 * article.sparkle) * mixed)
        lights.append(as_plane(light / light.mean()))
    return lights[0], lights[1]


def _pick_lights(article: Article, picks: int, rng: np.random.Generator) -> Plane:
    """Draw the brightness of each pick: (picks,); packages take turns."""
    packages = 1 + article.feeder_change * np.clip(rng.standard_normal(article.feeders), -2, 2)
    own = 1 + 0.02 * np.clip(rng.standard_normal(picks), -2, 2)
    return as_plane(packages[np.arange(picks) % article.feeders] * own)


def _end_lights(article: Article, ends: int, rng: np.random.Generator) -> Plane:
    """Draw the brightness of each end: (ends,); no two were dyed or twisted quite alike."""
    return as_plane(1 + (0.02 + article.streaks) * np.clip(rng.standard_normal(ends), -2, 2))


def loose_fibres(size_hw: tuple[int, int], rng: np.random.Generator) -> Plane:
    """Draw fibres that stand off the yarns: short faint strokes every way, 0 to 2; rows wrap around."""
    total = np.zeros(size_hw, np.float32)
    specks = rng.standard_normal((size_hw[0] + 2 * FIBRE_PX, size_hw[1]), dtype=np.float32)
    specks[-2 * FIBRE_PX :] = specks[: 2 * FIBRE_PX]
    for angle in rng.uniform(0, np.pi) + np.array([0.0, 1.0, 2.1]):
        strokes = cv2.filter2D(specks, -1, _stroke(float(angle)))[FIBRE_PX:-FIBRE_PX]
        strokes = np.roll(strokes, rng.integers(size_hw[1]), axis=1)
        np.maximum(total, strokes - np.float32(1.8), out=total)
    return as_plane(np.minimum(total, 2.0))


def raised_nap(article: Article, size_hw: tuple[int, int], rng: np.random.Generator) -> Plane:
    """Draw tufts of raised fibre that lie over the weave, mean 0, fractions; rows wrap around."""
    specks = rng.standard_normal(size_hw, dtype=np.float32)
    tufts = blur_wrapped(specks, article.nap_px, 0.6 * article.nap_px)
    return as_plane(tufts * np.float32(article.nap / max(float(tufts.std()), 1e-6)))


def _stroke(angle: float) -> NDArray[np.float32]:
    """Return a short line of energy 1 as a kernel."""
    kernel = np.zeros((FIBRE_PX, FIBRE_PX), np.uint8)
    middle, reach = FIBRE_PX // 2, 0.45 * FIBRE_PX
    ends = [
        tuple(round(float(middle + side * reach * part)) for part in (np.cos(angle), np.sin(angle)))
        for side in (-1, 1)
    ]
    cv2.line(kernel, ends[0], ends[1], 255, 1, cv2.LINE_AA)
    weights = kernel.astype(np.float32)
    return np.asarray(weights / np.sqrt((weights**2).sum()), np.float32)
