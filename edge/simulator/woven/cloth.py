"""Weave a piece of an article: every pixel looks up its place in the lit repeat of the weave."""

from __future__ import annotations

import cv2
import numpy as np

from edge.simulator.planes import Plane, as_plane
from edge.simulator.weave import blur_wrapped
from edge.simulator.woven.article import Article
from edge.simulator.woven.dyes import yarn_dyes
from edge.simulator.woven.interlacing import SAMPLES, LitRepeat, contrast_gain, light_repeat
from edge.simulator.woven.yarns import end_places, loose_fibres, raised_nap, strayed, uneven_floats


def weave_cloth(
    article: Article, size_hw: tuple[int, int], channels: int, rng: np.random.Generator
) -> list[Plane]:
    """Weave a piece of cloth.

    Args:
        article: what to weave.
        size_hw: lines and columns; the line after the last is the first.
        channels: 1 for grey, 3 for blue, green and red.
        rng: where the numbers come from.
    Returns:
        Brightness over the mean of the piece, (H, W) float32 for each channel.
    """
    picks = max(1, round(size_hw[0] / article.weft_pitch_px / len(article.repeat))) * len(article.repeat)
    end_at, pick_at = _places(article, size_hw, picks, rng)
    end, pick = np.floor(end_at).astype(np.intp), np.floor(pick_at).astype(np.intp) % picks
    end -= end.min()
    ends = int(end.max()) + 1
    lit = light_repeat(article)
    gain = contrast_gain(lit, article)
    floats = uneven_floats(article, picks, ends, rng).reshape(-1, 4)
    warp, weft = _yarn_light(
        article, lit, gain, (end_at, pick_at), np.take(floats, pick * ends + end, axis=0)
    )
    of_ends, of_picks = yarn_dyes(article, ends, picks, channels, rng)
    fibres = np.float32(article.fuzz) * loose_fibres(size_hw, rng)
    if article.nap:
        fibres = fibres + raised_nap(article, size_hw, rng)
    planes = [
        as_plane(warp * of_ends[:, channel][end] + weft * of_picks[:, channel][pick])
        for channel in range(channels)
    ]
    mean = float(np.mean([plane.mean() for plane in planes]))
    window_px = 1 + 2 * round(2 * max(article.warp_pitch_px, article.weft_pitch_px))
    sharp = (as_plane(_contrasted(plane / mean, gain, window_px) + fibres) for plane in planes)
    return [blur_wrapped(plane, article.blur_px, article.smear_px) for plane in sharp]


def _places(
    article: Article, size_hw: tuple[int, int], picks: int, rng: np.random.Generator
) -> tuple[Plane, Plane]:
    """Return the place of each pixel among the ends and among the picks, (H, W) float32 each."""
    lines, columns = size_hw
    across_px, along_px = strayed(article, size_hw, rng)
    end_at = end_places(article, columns, rng)[None, :] + across_px / np.float32(article.warp_pitch_px)
    pick_at = (np.arange(lines, dtype=np.float32)[:, None] + along_px) * np.float32(picks / lines)
    return end_at, pick_at


def _contrasted(plane: Plane, gain: float, window_px: int) -> Plane:
    """Change the contrast of the weave; brightness and stripes about each pixel stay. Rows wrap around."""
    wrapped = np.pad(plane, ((window_px, window_px), (0, 0)), mode="wrap")
    around = cv2.blur(wrapped, (window_px, window_px))[window_px:-window_px]
    return as_plane(around + (plane - around) * np.float32(gain))


def _yarn_light(
    article: Article,
    lit: LitRepeat,
    gain: float,
    places: tuple[Plane, Plane],
    floats: Plane,
) -> tuple[Plane, Plane]:
    """Return the light of the warp and of the weft in every pixel, before they are dyed.

    Args:
        article: its weave.
        lit: one repeat of it.
        gain: what contrasts are multiplied with later: what is uneven is not to grow with it.
        places: of each pixel among ends and among picks.
        floats: (H, W, 4), of the float that each pixel shows, as `uneven_floats`.
    """
    size = len(article.repeat), len(article.repeat[0])
    map_x, map_y = (
        as_plane(np.mod(place, length) * SAMPLES - 0.5)
        for place, length in zip(places, (size[1], size[0]), strict=True)
    )
    less = np.float32(1 / max(gain, 1))
    planes = []
    for number, repeat in enumerate((lit.warp, lit.weft)):
        seen = cv2.remap(repeat, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        plane = seen[..., 0] + less * (floats[..., 0] * seen[..., 1] + floats[..., 1] * seen[..., 2])
        planes.append(as_plane(np.maximum(plane, 0) * (1 + less * floats[..., 2 + number])))
    return planes[0], planes[1]
