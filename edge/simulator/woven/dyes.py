"""Dye the yarns of an article: plain, in stripes of the warp, or in checks of warp and weft."""

from __future__ import annotations

import numpy as np

from edge.simulator.planes import Plane, as_plane
from edge.simulator.woven.article import Article

STRIPE_YARNS = (3, 40)
"""Least and most yarns of one dye beside each other."""

STRIPES = (2, 5)
"""Least stripes of a repeat, and one more than the most."""

LEVELS = (0.55, 1.45)
"""Darkest and brightest dye over that of the ground."""


def yarn_dyes(
    article: Article, ends: int, picks: int, channels: int, rng: np.random.Generator
) -> tuple[Plane, Plane]:
    """Draw the brightness of every end and pick.

    Args:
        article: its pattern, and the colours of warp and weft.
        ends, picks: how many.
        channels: 1 for grey, 3 for blue, green and red.
        rng: where the numbers come from.
    Returns:
        (ends, channels) and (picks, channels) float32; the picks fit a whole number of repeats.
    """
    warp, weft = (_base(bgr, channels) for bgr in (article.warp_bgr, article.weft_bgr))
    warp = warp * np.float32(article.warp_brightness)
    if article.pattern == "solid":
        return as_plane(np.tile(warp, (ends, 1))), as_plane(np.tile(weft, (picks, 1)))
    stripes = _stripes(channels, rng)
    of_ends = warp * stripes[np.arange(ends) % len(stripes)]
    if article.pattern == "stripes":
        return as_plane(of_ends), as_plane(np.tile(weft, (picks, 1)))
    repeats = max(1, round(picks / len(stripes)))
    at = (np.arange(picks) * len(stripes) * repeats) // picks % len(stripes)
    return as_plane(of_ends), as_plane(weft * stripes[at])


def _base(bgr: tuple[float, float, float], channels: int) -> Plane:
    return as_plane([1.0]) if channels == 1 else as_plane(bgr)


def _stripes(channels: int, rng: np.random.Generator) -> Plane:
    """Draw the dyes of one repeat of stripes, yarn by yarn: (yarns, channels)."""
    count = int(rng.integers(*STRIPES))
    low, high = np.log(STRIPE_YARNS)
    breadths = np.exp(rng.uniform(low, high, count)).astype(int)
    levels = rng.uniform(*LEVELS, (count, 1))
    dyes = levels * (1 + 0.3 * rng.uniform(-1, 1, (count, channels)))
    dyes[0] = 1.0
    return as_plane(dyes.repeat(breadths, axis=0))
