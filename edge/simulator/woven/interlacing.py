"""Light one repeat of a weave: yarns as tubes that pass over and under each other."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edge.simulator.planes import Plane, as_plane
from edge.simulator.woven.article import Article

SAMPLES = 16
"""Points across one yarn."""

DIVE = 0.28
"""Way along a yarn within which it passes from above to below, in yarns (Gaussian width)."""

THICKER = 0.2
"""Change of breadth that the derivatives are taken over, fraction."""

GAP_BRIGHTNESS = 0.15
"""Of what is seen between yarns, over that of yarns."""

SHADED = 0.55
"""Brightness lost where a yarn lies as deep as it goes: its neighbours keep the light away."""


@dataclass(frozen=True, slots=True, eq=False)
class LitRepeat:
    """Hold the brightness of one repeat of a weave, as a camera averages it.

    Attributes:
        warp: (SAMPLES * picks, SAMPLES * ends, 3) float32, light of the warp yarns; how it grows with the
            thickness of the warp; with that of the weft.
        weft: the same of weft yarns.
    """

    warp: Plane
    weft: Plane


def light_repeat(article: Article) -> LitRepeat:
    """Light one repeat of an article and average it over the camera's pixels."""
    warp, weft = _lit(article, (1.0, 1.0))
    by_warp = _lit(article, (1 + THICKER, 1.0))
    by_weft = _lit(article, (1.0, 1 + THICKER))
    planes = [
        np.dstack((own, (thick_warp - own) / THICKER, (thick_weft - own) / THICKER))
        for own, thick_warp, thick_weft in zip((warp, weft), by_warp, by_weft, strict=True)
    ]
    return LitRepeat(*(_as_seen(plane, article) for plane in planes))


def _lit(article: Article, thicker: tuple[float, float]) -> tuple[Plane, Plane]:
    """Return the light of warp yarns and of weft yarns, 0 where the other lies on top."""
    over = np.asarray(article.repeat, np.float32) * 2 - 1
    picks, ends = over.shape
    warp_rise = _along(over.repeat(SAMPLES, axis=0), axis=0).repeat(SAMPLES, axis=1)
    weft_rise = -_along(over.repeat(SAMPLES, axis=1), axis=1).repeat(SAMPLES, axis=0)
    breadths = [cover * thick for cover, thick in zip(article.cover, thicker, strict=True)]
    across = as_plane((np.arange(SAMPLES) + 0.5) / SAMPLES * 2 - 1)
    warp_round = np.tile(_tube(across, breadths[0]), ends)[None, :]
    weft_round = np.tile(_tube(across, breadths[1]), picks)[:, None]
    warp = warp_rise * article.crimp / 2 + warp_round
    weft = weft_rise * article.crimp / 2 + weft_round
    height = as_plane(np.maximum(np.maximum(warp, weft), -article.crimp))
    light = _shaded(height, article)
    is_yarn = np.maximum(warp_round, weft_round) > -0.5
    light = np.where(is_yarn, light, GAP_BRIGHTNESS * light)
    return as_plane(light * (warp >= weft)), as_plane(light * (warp < weft))


def _along(over: Plane, axis: int) -> Plane:
    """Let yarns rise and sink smoothly along their way, -1 to 1; the repeat goes on at both ends."""
    width = SAMPLES * DIVE
    margin = 3 * SAMPLES
    pad = [(0, 0), (0, 0)]
    pad[axis] = (margin, margin)
    wide = as_plane(np.pad(over, pad, mode="wrap"))
    sigmas = (0.0, width) if axis == 0 else (width, 0.0)
    kernel = (1, 2 * margin - 1) if axis == 0 else (2 * margin - 1, 1)
    smooth = cv2.GaussianBlur(wide, kernel, sigmaX=sigmas[0] or 1e-3, sigmaY=sigmas[1] or 1e-3)
    return as_plane(smooth[margin:-margin] if axis == 0 else smooth[:, margin:-margin])


def _tube(across: Plane, breadth: float) -> Plane:
    """Return how high the surface of a yarn lies over its axis; far below outside it."""
    inside = 1 - (across / breadth) ** 2
    return as_plane(np.where(inside > 0, 0.7 * np.sqrt(np.maximum(inside, 0)), -1.0))


def _shaded(height: Plane, article: Article) -> Plane:
    """Return the light that a surface throws back: diffuse and from all sides, less in its depths."""
    wide = cv2.GaussianBlur(np.pad(height, SAMPLES, mode="wrap"), (0, 0), SAMPLES / 16)
    down, right = np.gradient(wide, 2.0 / SAMPLES)
    x, y, z = article.light_xyz
    facing = (z - x * right - y * down) / np.sqrt((1 + right**2 + down**2) * (x * x + y * y + z * z))
    diffuse = np.maximum(facing, 0)[SAMPLES:-SAMPLES, SAMPLES:-SAMPLES]
    depth = np.clip((height.max() - height) / (0.7 + article.crimp), 0, 1)
    return as_plane((article.ambient + (1 - article.ambient) * diffuse) * (1 - SHADED * depth))


def _as_seen(planes: Plane, article: Article) -> Plane:
    """Average over a pixel of the camera; the repeat goes on at all sides."""
    samples = [SAMPLES / pitch_px for pitch_px in (article.weft_pitch_px, article.warp_pitch_px)]
    margins = [int(side) + 2 for side in samples]
    wide = np.pad(planes, ((margins[0],) * 2, (margins[1],) * 2, (0, 0)), mode="wrap")
    seen = cv2.blur(wide, (max(1, round(samples[1])), max(1, round(samples[0]))))
    return as_plane(seen[margins[0] : -margins[0], margins[1] : -margins[1]])


def contrast_gain(lit: LitRepeat, article: Article) -> float:
    """Return what the contrast of a weave is multiplied with, so that behind the lens it is as asked."""
    undyed = lit.warp[..., 0] * np.float32(article.warp_brightness) + lit.weft[..., 0]
    along_px = float(np.hypot(article.blur_px, article.smear_px))
    sigma_x = article.blur_px * SAMPLES / article.warp_pitch_px
    sigma_y = along_px * SAMPLES / article.weft_pitch_px
    margin = 2 * SAMPLES
    wide = cv2.GaussianBlur(np.pad(undyed, margin, mode="wrap"), (0, 0), sigmaX=sigma_x, sigmaY=sigma_y)
    seen = wide[margin:-margin, margin:-margin]
    return article.contrast * float(undyed.mean()) / max(float(seen.std()), 1e-6)
