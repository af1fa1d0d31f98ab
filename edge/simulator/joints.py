"""Draw the sewn joint between two pieces of cloth: a fold with a row of stitches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.core.image import Image
from edge.simulator.options import LoomOptions
from edge.simulator.planes import Plane

JOINT_STREAM = 6
HEIGHT_MM = (5.0, 9.0)
SKEW_MM = 4.0
"""From one selvedge to the other."""

WAVE_MM = 0.4
STITCH_MM = (2.5, 4.5)
FOLD_FRACTION = (0.08, 0.25)
"""Light and shade of the fold, over the brightness of the cloth."""

STITCH_FRACTION = (0.2, 0.5)
FADE = (0.4, 0.8)
"""How much of the weave disappears under the fold."""


@dataclass(frozen=True, slots=True)
class PlantedJoint:
    """Say where a joint lies: its first and last line, in metres, at any side of the cloth."""

    along_m: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class JointPatch:
    """What a joint does to the lines from `first_line` on: ``new = old * keep + plus``.

    Attributes:
        keep: (H, W) float32 in [0, 1].
        plus: (H, W) float32, grey levels.
    """

    first_line: int
    keep: Plane
    plus: Plane


def draw_joint(options: LoomOptions, number: int, columns_grey: Plane) -> JointPatch:
    """Draw one joint over the cloth in view.

    Args:
        options: seed, scale and places.
        number: of the joint, from 0.
        columns_grey: (W,) brightness of clean cloth in view, grey levels.
    """
    rng = np.random.default_rng([options.seed, JOINT_STREAM, number])
    mm, width = options.mm_per_px, len(columns_grey)
    height_px = rng.uniform(*HEIGHT_MM) / mm
    across = np.arange(width, dtype=np.float32) / max(1, width - 1) - 0.5
    bend_px = rng.uniform(-SKEW_MM, SKEW_MM) * across / mm
    bend_px += WAVE_MM / mm * np.sin(across * rng.uniform(10, 40) + rng.uniform(0, 6))
    reach_px = int(np.ceil(np.abs(bend_px).max() + height_px / 2)) + 1
    rows = np.arange(-reach_px, reach_px + 1, dtype=np.float32)[:, None]
    place = (rows - bend_px[None, :]) / (height_px / 2)  # -1 to 1 within the joint
    inside = np.clip((1 - np.abs(place)) * height_px / 2, 0, 1)
    fold = np.sin(np.pi * place) * rng.uniform(*FOLD_FRACTION) * rng.choice((-1, 1))
    period_px = rng.uniform(*STITCH_MM) / mm
    stitch = np.sin(2 * np.pi * np.arange(width, dtype=np.float32) / period_px + rng.uniform(0, 6)) > -0.3
    row = np.exp(-((place / 0.35) ** 2))
    stitches = row * stitch[None, :] * rng.uniform(*STITCH_FRACTION) * rng.choice((-1, 1))
    keep = 1 - inside * rng.uniform(*FADE)
    plus = columns_grey[None, :] * ((1 - keep) + inside * (fold + stitches))
    first_line = round(options.joints_at_m[number] * 1000 / mm) - reach_px
    return JointPatch(first_line, keep.astype(np.float32), plus.astype(np.float32))


def apply_joint(image: Image, first_line: int, left_px: int, joint: JointPatch) -> None:
    """Put the part of a joint that falls on these lines over them, in place.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        first_line: of the image.
        left_px: first column of the cloth in view.
        joint: of the cloth in view.
    """
    top = joint.first_line - first_line
    start, end = max(0, top), min(len(image), top + len(joint.keep))
    if start >= end:
        return
    part = image[start:end, left_px : left_px + joint.keep.shape[1]]
    keep, plus = joint.keep[start - top : end - top], joint.plus[start - top : end - top]
    if image.ndim == 3:
        keep, plus = keep[:, :, None], plus[:, :, None]
    part[...] = np.clip(np.rint(part * keep + plus), 0, 255)
