"""Precompute the image of a clean roll: cloth, selvedges, bed and lamp, before noise."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from edge.core.image import Image
from edge.simulator.options import LoomOptions
from edge.simulator.planes import Plane, as_plane, smooth_noise
from edge.simulator.style import ClothStyle
from edge.simulator.weave import weave_texture
from edge.simulator.woven.article import LEAST_PITCH_PX, Article
from edge.simulator.woven.cloth import weave_cloth

TEXTURE_STREAM = 2
SELVEDGE_PITCH = 0.7
"""Pitch in the selvedge over that of the cloth: its yarns lie closer."""

STREAK_PITCHES = (0.7, 5.0, 15.0)
"""Breadth of warp streaks, fine and broad, in yarn pitches."""

MARGIN_PX = 6
"""Columns beside a selvedge within which its edge may wander."""

FLECK_DEVIATIONS = 2.2
"""Brightness, blurred over one yarn, beyond so many deviations is taken back. Subtle planted defects begin
at 4.5 (`patch.CONTRAST_RANGES`)."""

WILD_DEVIATIONS = 1.5
"""Contrast of the weave beyond its mean plus so many standard deviations is taken back."""

ROUNDS = 3
"""Each takes away a part of what is still beyond the limits; the strongest flecks stay visible, weaker."""


def draw_texture(options: LoomOptions, style: ClothStyle) -> Image:
    """Draw the texture of a roll.

    Returns:
        (texture_lines, width) or (texture_lines, width, 3) uint8, periodic down the rows, without
        sensor noise.
    """
    rng = np.random.default_rng([options.seed, TEXTURE_STREAM])
    lines, width_px = options.texture_lines, options.width_px
    left_px, right_px = options.cloth_in_view_px
    bed = _draw_bed(options, style, rng)
    size_hw = (lines, right_px - left_px)
    if isinstance(style, Article):
        levels = _woven_levels(options, style, size_hw, rng)
    else:
        levels = _drawn_levels(options, style, size_hw, rng)
    planes = []
    for level in levels:
        plane = np.repeat(bed[None, :], lines, axis=0)
        plane[:, left_px:right_px] = level
        planes.append(plane)
    edge = _edge_fraction(options, (lines, width_px), rng)
    for plane in planes:
        for columns, fraction in edge:
            plane[:, columns] = bed[columns] + fraction * (plane[:, columns] - bed[columns])
    stacked = planes[0] if len(planes) == 1 else np.dstack(planes)
    return np.ascontiguousarray(np.clip(np.rint(stacked), 0, 255).astype(np.uint8))


def _drawn_levels(
    options: LoomOptions, style: ClothStyle, size_hw: tuple[int, int], rng: np.random.Generator
) -> list[Plane]:
    """Return the grey levels of the cloth in view, for each channel."""
    relief, warp_fraction = _draw_cloth(options, style, size_hw, rng)
    level = style.mean_grey * (1.0 + relief) * _lamp_on_cloth(options, style)
    levels = []
    for warp, weft in _tints(options, style):
        tint = np.float32(weft) + warp_fraction * np.float32(warp - weft)
        levels.append(level if warp == weft == 1.0 else level * tint)
    return levels


def _woven_levels(
    options: LoomOptions, article: Article, size_hw: tuple[int, int], rng: np.random.Generator
) -> list[Plane]:
    """Return the grey levels of a woven article in view, for each channel."""
    planes = weave_cloth(article, size_hw, 3 if options.colour else 1, rng)
    _weave_dense_edges(options, article, planes, rng)
    columns = 1 + article.column_gain * rng.standard_normal(size_hw[1], dtype=np.float32)
    light = article.mean_grey * _lamp_on_cloth(options, article) * columns[None, :]
    return [as_plane(plane * light) for plane in planes]


def _lamp_on_cloth(options: LoomOptions, style: ClothStyle) -> Plane:
    return _lamp(options, style)[None, slice(*options.cloth_in_view_px)]


def _tints(options: LoomOptions, style: ClothStyle) -> list[tuple[float, float]]:
    """Return the brightness of warp and weft, once for grey and three times for colour."""
    if not options.colour:
        return [(1.0, 1.0)]
    return list(zip(style.warp_bgr, style.weft_bgr, strict=True))


def _draw_cloth(
    options: LoomOptions, style: ClothStyle, size_hw: tuple[int, int], rng: np.random.Generator
) -> tuple[Plane, Plane]:
    """Return relief (fraction of the mean grey) and fraction of warp on top, both (H, W) float32."""
    woven = weave_texture(style, size_hw, rng)
    relief = woven.relief * np.float32(style.contrast)
    relief += style.hairiness * _fibres(rng, size_hw)
    relief = evened(relief, min(style.warp_pitch_px, style.weft_pitch_px))
    relief += _streaks(style, size_hw[1], rng)[None, :]
    _weave_selvedges(options, style, relief, rng)
    return relief, woven.warp_fraction


def _fibres(rng: np.random.Generator, size_hw: tuple[int, int]) -> Plane:
    """Draw the fuzz of loose fibres: short blurred specks, standard deviation about 1."""
    specks = rng.standard_normal(size_hw, dtype=np.float32)
    return as_plane(cv2.GaussianBlur(specks, (0, 0), 0.8) * 2.6)


def _streaks(style: ClothStyle, width_px: int, rng: np.random.Generator) -> Plane:
    """Draw the brightness of the columns: warp streaks, fine and broad, fractions of the mean."""
    streaks = np.zeros(width_px, np.float32)
    for pitches in STREAK_PITCHES:
        noise = rng.standard_normal((1, width_px), dtype=np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), style.warp_pitch_px * pitches)[0]
        streaks += smooth / smooth.std()
    return as_plane(streaks * style.streaks / np.sqrt(len(STREAK_PITCHES)))


def selvedge_bands_px(options: LoomOptions, style: ClothStyle) -> tuple[int, int]:
    """Return the columns where the ground of the cloth begins and ends, inside both selvedges."""
    breadth_px = round(style.selvedge_mm / options.mm_per_px)
    first_px, last_px = options.cloth_in_view_px
    breadth_px = min(breadth_px, (last_px - first_px) // 6)
    return options.left_selvedge_px + breadth_px, options.right_selvedge_px - breadth_px


def _weave_selvedges(
    options: LoomOptions, style: ClothStyle, relief: Plane, rng: np.random.Generator
) -> None:
    """Lay the denser, brighter edge bands with their cords over the relief, in place."""
    for columns in _edge_bands(options, style):
        size_hw = (len(relief), columns.stop - columns.start)
        dense = weave_texture(_selvedge_style(style), size_hw, rng).relief * style.contrast
        cords = smooth_noise(rng, (1, size_hw[1]), (2, max(2, size_hw[1] // 8)))[0] * 0.1
        band = dense * np.float32(0.8) + cords[None, :] + np.float32(style.selvedge_gain - 1.0)
        if style.cord:
            band += _cord(style, size_hw[1], rng)[None, :]
        relief[:, columns] = band


def _weave_dense_edges(
    options: LoomOptions, article: Article, planes: list[Plane], rng: np.random.Generator
) -> None:
    """Weave the denser, brighter edge bands with their cords into the cloth, in place."""
    dense = replace(article, repeat=((1, 0), (0, 1)), pattern="solid",
                    warp_pitch_px=max(LEAST_PITCH_PX, article.warp_pitch_px * SELVEDGE_PITCH))  # fmt: skip
    for columns in _edge_bands(options, article):
        size_hw = (len(planes[0]), columns.stop - columns.start)
        bands = weave_cloth(dense, size_hw, len(planes), rng)
        cord = _cord(article, size_hw[1], rng)[None, :] if article.cord else 0.0
        for plane, band in zip(planes, bands, strict=True):
            plane[:, columns] = band * article.selvedge_gain + cord


def _edge_bands(options: LoomOptions, style: ClothStyle) -> list[slice]:
    """Return the columns, counted from the first of the cloth in view, of the edge bands in view."""
    first_px, last_px = options.cloth_in_view_px
    ground_left_px, ground_right_px = selvedge_bands_px(options, style)
    bands = []
    for left_px, right_px in ((first_px, ground_left_px), (ground_right_px, last_px)):
        left_px, right_px = max(left_px, first_px), min(right_px, last_px)
        if right_px - left_px >= 4:
            bands.append(slice(left_px - first_px, right_px - first_px))
    return bands


def _cord(style: ClothStyle, breadth_px: int, rng: np.random.Generator) -> Plane:
    """Return what a cord somewhere in the edge band adds to each of its columns, fractions of the mean."""
    from_middle = np.arange(breadth_px) - rng.uniform(0, breadth_px)
    return as_plane(style.cord * np.exp(-((from_middle / rng.uniform(1.0, 4.0)) ** 4)))


def _selvedge_style(style: ClothStyle) -> ClothStyle:
    """Return the style of the edge bands: plain weave with yarns closer together."""
    pitch_px = max(2.5, style.warp_pitch_px * SELVEDGE_PITCH)
    return replace(style, weave="plain", warp_pitch_px=pitch_px)


def _lamp(options: LoomOptions, style: ClothStyle) -> Plane:
    """Return the brightness of the lamp per column, mean about 1."""
    place = np.linspace(-1.0, 1.0, options.width_px, dtype=np.float32)
    fall = 1.0 + 0.5 * style.light_tilt * place - style.light_sag * (place**2 - 1 / 3)
    return as_plane(fall)


def _draw_bed(options: LoomOptions, style: ClothStyle, rng: np.random.Generator) -> Plane:
    """Return the brightness of the machine bed per column, grey levels; it does not move."""
    level = {"dark": rng.uniform(8, 45), "grey": rng.uniform(60, 130), "white": 255.0}[style.bed]
    bed = np.full(options.width_px, level, dtype=np.float32)
    if style.bed != "white":
        bed += smooth_noise(rng, (1, options.width_px), (2, options.width_px // 12))[0] * 3
    if style.rail:
        rails_px = (options.left_selvedge_px / 2, (options.right_selvedge_px + len(bed)) / 2)
        columns = np.arange(len(bed), dtype=np.float32)
        for rail_px in rails_px:
            bed += 190 * np.exp(-(((columns - rail_px) / rng.uniform(2, 6)) ** 2))
    return as_plane(np.clip(bed, 0, 255))


def _edge_fraction(
    options: LoomOptions, size_hw: tuple[int, int], rng: np.random.Generator
) -> list[tuple[slice, Plane]]:
    """Return, for each selvedge in view, its columns and how much of each pixel is cloth."""
    lines, width_px = size_hw
    fractions = []
    for selvedge_px, side in ((options.left_selvedge_px, 1), (options.right_selvedge_px, -1)):
        fringe = smooth_noise(rng, (lines, 1), (lines // 3, 2))[:, :1] * np.float32(0.6)
        first_px, last_px = max(0, selvedge_px - MARGIN_PX), min(width_px, selvedge_px + MARGIN_PX)
        if last_px - first_px < 2:
            continue
        columns = np.arange(first_px, last_px, dtype=np.float32)[None, :] + 0.5
        inside_px = side * (columns - selvedge_px) - np.abs(fringe) - 0.5
        fractions.append((slice(first_px, last_px), np.clip(inside_px + 0.5, 0, 1)))
    return fractions


def evened(relief: Plane, pitch_px: float) -> Plane:
    """Tame flecks and wild patches of a texture, and leave the rest as it is.

    Args:
        relief: (H, W) float32, periodic down the rows.
        pitch_px: of the finer yarn.
    Returns:
        (H, W) float32, periodic as before.
    """
    margin = min(len(relief), round(24 * pitch_px))
    plane = np.pad(relief, ((margin, margin), (0, 0)), mode="wrap")
    for _ in range(ROUNDS):
        plane -= _flecks(plane, pitch_px)
        plane = _tamed(plane, pitch_px)
    return as_plane(np.ascontiguousarray(plane[margin:-margin]))


def _flecks(plane: Plane, pitch_px: float) -> Plane:
    """Return what is too bright or too dark about each spot, against the cloth around it."""
    fine = cv2.GaussianBlur(plane, (0, 0), 0.8 * pitch_px)
    deviation = fine - cv2.GaussianBlur(fine, (0, 0), 4.8 * pitch_px)
    limit = FLECK_DEVIATIONS * float(deviation.std())
    return as_plane(deviation - np.clip(deviation, -limit, limit))


def _tamed(plane: Plane, pitch_px: float) -> Plane:
    """Lower the contrast of the weave where it is far above that of the whole cloth."""
    ground = cv2.GaussianBlur(plane, (0, 0), 1.2 * pitch_px)
    weave = plane - ground
    contrast = np.sqrt(cv2.GaussianBlur(weave * weave, (0, 0), 1.5 * pitch_px))
    limit = float(contrast.mean() + WILD_DEVIATIONS * contrast.std())
    return as_plane(ground + weave * np.minimum(1.0, limit / np.maximum(contrast, 1e-6)))
