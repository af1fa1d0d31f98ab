"""Draw the style of one roll: every number of its cloth and lamp that tells it from the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edge.simulator.options import WEAVES, LoomOptions, Weave

STYLE_STREAM = 1
"""Second word of the random seed: keeps the style apart from texture, noise and defects."""

CORD_FRACTION = 0.4
"""Fraction of cloths with a cord along each selvedge. It looks like a loose yarn, and is none."""

Bed = Literal["dark", "grey", "white"]


@dataclass(frozen=True, slots=True)
class ClothStyle:
    """Describe a cloth and its lamp. Lengths in pixels; fractions are of the mean grey.

    Attributes:
        weave: name of the weave.
        float_length: yarns that a float passes over (twill and satin).
        hand: +1 or -1, the way a twill runs.
        warp_pitch_px: distance between warp yarns.
        weft_pitch_px: distance between weft yarns.
        mean_grey: brightness of the cloth, grey levels.
        contrast: standard deviation of the weave, fraction.
        warp_to_weft: brightness of warp yarns over that of weft yarns.
        unevenness: change of thickness of a yarn along its length, fraction.
        hairiness: standard deviation of the fibre noise, fraction.
        crookedness_px: how far yarns stray from straight lines.
        streaks: standard deviation of the warp streaks, fraction.
        clouds_grey: standard deviation of the slow change of density, grey levels.
        bars_grey: standard deviation of the change from pick to pick, grey levels.
        blur_px: Gaussian blur of the lens.
        smear_px: Gaussian blur along the roll during one line.
        light_tilt: brightness of the right edge less that of the left, fraction.
        light_sag: brightness lost at both edges, fraction.
        noise_grey: standard deviation of the sensor noise, grey levels.
        bed: what lies beside the cloth.
        rail: True if a bright rail runs along the bed.
        selvedge_mm: breadth of the denser edge bands.
        selvedge_gain: brightness of the edge bands over that of the cloth.
        cord: brightness of the cord along each selvedge less that of the cloth, fraction; 0 for no cord.
        warp_bgr: colour of the warp, mean 1.
        weft_bgr: colour of the weft, mean 1.
    """

    weave: Weave
    float_length: int
    hand: int
    warp_pitch_px: float
    weft_pitch_px: float
    mean_grey: float
    contrast: float
    warp_to_weft: float
    unevenness: float
    hairiness: float
    crookedness_px: float
    streaks: float
    clouds_grey: float
    bars_grey: float
    blur_px: float
    smear_px: float
    light_tilt: float
    light_sag: float
    noise_grey: float
    bed: Bed
    rail: bool
    selvedge_mm: float
    selvedge_gain: float
    cord: float
    warp_bgr: tuple[float, float, float]
    weft_bgr: tuple[float, float, float]


def draw_style(options: LoomOptions) -> ClothStyle:
    """Draw the style of a roll from its seed; the options pin what they name."""
    rng = np.random.default_rng([options.seed, STYLE_STREAM])
    weave = WEAVES[rng.integers(len(WEAVES))]
    beds: tuple[Bed, ...] = ("dark", "dark", "dark", "grey", "white")
    warp_pitch_px = 3.0 + 5.0 * rng.random() ** 1.6
    weft_pitch_px = float(np.clip(warp_pitch_px * rng.uniform(0.7, 1.4), 3.0, 8.0))
    drawn_grey = rng.uniform(70, 190)
    mean_grey = options.mean_grey or drawn_grey
    warp_bgr = _draw_colour(rng)
    weft_bgr = warp_bgr if rng.random() < 0.5 else _draw_colour(rng)
    return ClothStyle(
        weave=options.weave or weave,
        float_length=int(rng.integers(1, 4)),
        hand=int(rng.choice((-1, 1))),
        warp_pitch_px=options.warp_pitch_px or warp_pitch_px,
        weft_pitch_px=options.weft_pitch_px or weft_pitch_px,
        mean_grey=mean_grey,
        contrast=min(rng.uniform(0.05, 0.19), most_contrast(mean_grey)),
        warp_to_weft=rng.uniform(0.75, 1.35),
        unevenness=rng.uniform(0.02, 0.10),
        hairiness=rng.uniform(0.0, 0.04),
        crookedness_px=rng.uniform(0.1, 0.7),
        streaks=0.035 * rng.random() ** 1.5,
        clouds_grey=rng.uniform(0.3, 3.0),
        bars_grey=rng.uniform(0.0, 1.5),
        blur_px=rng.uniform(0.15, 0.34) * warp_pitch_px,
        smear_px=rng.uniform(0.0, 0.7),
        light_tilt=rng.uniform(-0.2, 0.2),
        light_sag=rng.uniform(0.0, 0.25),
        noise_grey=rng.uniform(0.8, 4.5),
        bed=beds[rng.integers(len(beds))],
        rail=bool(rng.random() < 0.4),
        selvedge_mm=rng.uniform(3.0, 12.0),
        selvedge_gain=rng.uniform(1.0, 1.25),
        cord=_draw_cord(rng),
        warp_bgr=warp_bgr,
        weft_bgr=weft_bgr,
    )


def most_contrast(mean_grey: float) -> float:
    """Return the contrast at which the brightest yarns of a cloth just do not blind the camera."""
    return max(0.03, (225.0 / mean_grey - 1.0) / 2.2)


def _draw_cord(rng: np.random.Generator) -> float:
    return float(rng.uniform(0.3, 1.5) * rng.choice((-0.5, 1, 1))) if rng.random() < CORD_FRACTION else 0.0


def _draw_colour(rng: np.random.Generator) -> tuple[float, float, float]:
    """Draw blue, green and red of mean 1, from nearly grey to plainly dyed."""
    bgr = 1.0 + rng.uniform(0.05, 0.5) * rng.uniform(-1, 1, 3)
    blue, green, red = bgr / bgr.mean()
    return float(blue), float(green), float(red)
