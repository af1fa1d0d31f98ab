"""Draw what a woven article is made of: its weave, yarns, dyes, lamp and camera."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.simulator.options import PATTERNS, LoomOptions, Pattern, Weave
from edge.simulator.style import ClothStyle, draw_style, most_contrast

ARTICLE_STREAM = 11

WARP_PITCH_PX: dict[Weave, tuple[float, float]] = {
    "plain": (3.3, 6.5),
    "twill": (1.6, 3.2),
    "satin": (1.6, 3.0),
}
WEFT_TO_WARP: dict[Weave, tuple[float, float]] = {
    "plain": (0.45, 1.05),
    "twill": (1.1, 1.9),
    "satin": (0.8, 1.8),
}
"""Pitches and their proportion, as the spectra of seven real fabrics at about 0.2 mm/px have them: a plain
weave 4.8 x 3.7 px, a twill of three ends 1.8 x 2.4 to 2.2 x 3.9 px. What the eye sees of a twill are its
lines, 5 to 12 px apart."""

CONTRAST = (0.09, 0.33)
"""Standard deviation of a weave over its brightness; 0.10 to 0.34 on those fabrics."""

FAINT_FRACTION = 0.15
FAINT_CONTRAST = (0.01, 0.05)
"""Of cloth whose yarns are hardly seen: raised, very fine, or out of focus."""

SHEEN = (0.25, 1.1)
"""Logarithm of how much brighter one set of yarns is than the other. The lamp comes from one side, and
yarns that lie across its light shine: what is seen of a weave are the floats of one set on the other."""

LEAST_PITCH_PX, MOST_PITCH_PX = 1.6, 16.0

LAMP_PX = 2048
"""Width of the view that the style's lamp is drawn for: a narrow view shows a part of it."""

PATTERN_ODDS: dict[Pattern, float] = {"solid": 0.8, "stripes": 0.12, "checks": 0.08}


@dataclass(frozen=True, slots=True)
class Article(ClothStyle):
    """Describe a woven cloth, beyond what every style has.

    Attributes:
        repeat: picks by ends of the smallest piece of the weave; 1 where the warp is on top, else 0.
        pattern: of its dyes.
        cover: breadth of warp and weft yarns over their pitch.
        crimp: how high a yarn rises over those that it crosses, over its thickness.
        light_xyz: direction of the lamp.
        ambient: fraction of the light that comes from everywhere.
        warp_brightness: of warp yarns over that of weft yarns.
        thickness: change of a yarn's thickness along its length, fraction.
        sparkle: change of brightness from float to float, fraction.
        fuzz: brightness of loose fibres, fraction.
        nap: change of brightness of raised fibres that hide the weave, fraction.
        nap_px: breadth of their tufts.
        dent: ends that pass the reed together; 1 leaves no mark.
        reed_mark: how far these are drawn together, in pitches.
        feeders: packages that the weft is taken from in turn.
        feeder_change: brightness from package to package, fraction.
        column_gain: change of brightness from column to column of the camera, fraction.
    """

    repeat: tuple[tuple[int, ...], ...]
    pattern: Pattern
    cover: tuple[float, float]
    crimp: float
    light_xyz: tuple[float, float, float]
    ambient: float
    warp_brightness: float
    thickness: float
    sparkle: float
    fuzz: float
    nap: float
    nap_px: float
    dent: int
    reed_mark: float
    feeders: int
    feeder_change: float
    column_gain: float


def draw_article(options: LoomOptions) -> Article:
    """Draw an article from its seed; the options pin what they name."""
    drawn: dict[str, Any] = asdict(draw_style(options))
    rng = np.random.default_rng([options.seed, ARTICLE_STREAM])
    warp_px, weft_px = _draw_pitches(options, drawn["weave"], rng)
    azimuth, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 2.0)
    is_faint = rng.random() < FAINT_FRACTION
    sheen = np.exp(rng.uniform(*SHEEN) * rng.choice((-1, 1)))
    pattern = PATTERNS[rng.choice(len(PATTERNS), p=[PATTERN_ODDS[one] for one in PATTERNS])]
    view = min(1.0, options.width_px / LAMP_PX)
    contrast = min(
        _between(FAINT_CONTRAST if is_faint else CONTRAST, rng), most_contrast(drawn["mean_grey"])
    )
    style = drawn | {
        "warp_pitch_px": warp_px,
        "weft_pitch_px": weft_px,
        "contrast": contrast,
        "streaks": 0.02 * rng.random() ** 1.5,
        "clouds_grey": rng.uniform(0.1, 0.7),
        "bars_grey": rng.uniform(0.0, 0.6),
        "crookedness_px": rng.uniform(0.05, 0.35),
        "blur_px": rng.uniform(0.55, 0.95) * (1.6 if is_faint else 1.0),
        "smear_px": rng.uniform(0.0, 0.4),
        "light_tilt": drawn["light_tilt"] * view,
        "light_sag": drawn["light_sag"] * view**2,
        "noise_grey": rng.uniform(0.4, 1.2) if is_faint else rng.uniform(0.8, 2.5),
    }
    return Article(
        **style,
        repeat=draw_repeat(drawn["weave"], drawn["hand"], rng),
        pattern=options.pattern or pattern,
        cover=(rng.uniform(0.75, 1.0), rng.uniform(0.75, 1.0)),
        crimp=rng.uniform(0.5, 1.1),
        light_xyz=(float(np.cos(azimuth)), float(np.sin(azimuth)), height),
        ambient=rng.uniform(0.3, 0.8),
        warp_brightness=float(sheen),
        thickness=contrast * rng.uniform(0.3, 0.8),
        sparkle=contrast * rng.uniform(0.1, 0.5),
        fuzz=rng.uniform(0.0, 0.06),
        nap=rng.uniform(0.02, 0.05) if is_faint else 0.0,
        nap_px=rng.uniform(1.0, 2.6),
        dent=int(rng.integers(1, 5)),
        reed_mark=0.12 * rng.random() ** 2,
        feeders=int(rng.choice((1, 2, 4))),
        feeder_change=0.05 * rng.random() ** 2,
        column_gain=rng.uniform(0.002, 0.012),
    )


def draw_repeat(weave: Weave, hand: int, rng: np.random.Generator) -> tuple[tuple[int, ...], ...]:
    """Draw the interlacing of a weave: plain or rib, twills of 3 or 4 ends, satins of 5 or 8."""
    if weave == "plain":
        over: NDArray[np.bool_] = np.eye(2, dtype=np.bool_)
        return _rows(np.repeat(over, 2, axis=1) if rng.random() < 0.15 else over)
    if weave == "twill":
        size, up = ((3, 1), (3, 2), (4, 1), (4, 2), (4, 3))[rng.integers(5)]
        step = 1
    else:
        size, step = ((5, 2), (8, 3))[rng.integers(2)]
        up = size - 1 if rng.random() < 0.6 else 1
    picks, ends = np.indices((size, size))
    return _rows((ends + hand * step * picks) % size < up)


def _rows(over: NDArray[np.bool_]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(one) for one in row) for row in over)


def _draw_pitches(options: LoomOptions, weave: Weave, rng: np.random.Generator) -> tuple[float, float]:
    """Draw the distances between warp and between weft yarns, at any scale as at 0.2 mm/px."""
    warp_px = _between(WARP_PITCH_PX[weave], rng)
    weft_px = float(np.clip(warp_px * _between(WEFT_TO_WARP[weave], rng), LEAST_PITCH_PX, MOST_PITCH_PX))
    return options.warp_pitch_px or warp_px, options.weft_pitch_px or weft_px


def _between(low_high: tuple[float, float], rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(low_high))))
