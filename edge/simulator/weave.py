"""Compute how yarns pass over and under each other: the texture of a cloth, periodic along the roll."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.simulator.planes import Plane, as_plane, smooth_noise
from edge.simulator.style import ClothStyle


@dataclass(frozen=True, slots=True, eq=False)
class Woven:
    """Hold a woven texture; the row after the last is the first.

    Attributes:
        relief: (lines, columns) float32, mean 0 and standard deviation 1.
        warp_fraction: (lines, columns) float32 in [0, 1], 1 where the warp lies on top.
    """

    relief: Plane
    warp_fraction: Plane


def weave_repeat(style: ClothStyle) -> NDArray[np.bool_]:
    """Return the smallest piece of the weave: (N, N) bool, True where the warp lies on top."""
    if style.weave == "plain":
        return np.eye(2, dtype=np.bool_)
    if style.weave == "twill":
        balanced = style.float_length == 2 and style.hand > 0
        size = max(3, style.float_length + 1 + balanced)
        rows, columns = np.indices((size, size))
        return np.asarray((columns + style.hand * rows) % size < style.float_length)
    rows, columns = np.indices((5, 5))
    return np.asarray((columns + 2 * rows) % 5 != 0)


def weave_texture(style: ClothStyle, size_hw: tuple[int, int], rng: np.random.Generator) -> Woven:
    """Weave a piece of cloth.

    Args:
        style: weave, pitches and how uneven the yarns are.
        size_hw: lines and columns wanted; whole weave repeats fit into the lines.
        rng: where the numbers come from.
    """
    lines, columns = size_hw
    repeat = weave_repeat(style)
    picks = max(1, round(lines / style.weft_pitch_px / len(repeat))) * len(repeat)
    pick, pick_place = _yarns(lines, lines / picks)
    end, end_place = _yarns(columns, style.warp_pitch_px)
    ends = int(end[-1]) + 1
    warp_on_top = repeat[:, end % len(repeat)][pick % len(repeat)].astype(np.float32)
    along_ends = smooth_noise(rng, (lines, ends), (max(2, lines // 30), ends))
    along_picks = smooth_noise(rng, (picks, columns), (picks, max(2, columns // 30)))
    along_ends += _slubs(along_ends)
    along_picks += _slubs(along_picks)
    warp = end_place[None, :] * (1 + style.unevenness * along_ends[:, end])
    weft = pick_place[:, None] * (1 + style.unevenness * along_picks[pick, :])
    relief = weft + warp_on_top * (warp * np.float32(style.warp_to_weft) - weft)
    relief, warp_on_top = _bent(style, rng, relief, warp_on_top)
    relief -= relief.mean()
    return Woven(relief / max(float(relief.std()), 1e-6), warp_on_top)


def _yarns(length_px: int, pitch_px: float) -> tuple[NDArray[np.intp], Plane]:
    """Number the yarns along one axis and give each pixel its brightness across its yarn."""
    place = (np.arange(length_px) + 0.5) / pitch_px
    yarn = place.astype(np.intp)
    from_middle = 2.0 * (place - yarn) - 1.0
    return yarn, (1.0 - 0.45 * from_middle**2).astype(np.float32)


def _slubs(thickness: Plane) -> Plane:
    """Return what makes the few thickest places of the yarns thicker still."""
    return as_plane(np.clip(thickness - 2.2, 0, 1.0) * 0.8)


def _bent(
    style: ClothStyle, rng: np.random.Generator, relief: Plane, warp_on_top: Plane
) -> tuple[Plane, Plane]:
    """Let yarns stray from straight lines, then blur by lens and motion; rows wrap around."""
    lines, columns = relief.shape
    border = 16
    grid = (max(2, lines // 14), max(2, columns // 14))
    sway = smooth_noise(rng, (lines, 1), (max(2, lines // 120), 2))[:, :1] * 0.8
    across = smooth_noise(rng, relief.shape, grid) * style.crookedness_px + sway
    along = smooth_noise(rng, relief.shape, grid) * style.crookedness_px
    map_x = np.clip(across + np.arange(columns, dtype=np.float32), 0, columns - 1)
    map_y = along + np.arange(lines, dtype=np.float32)[:, None] + border
    bent = []
    for plane in (relief, warp_on_top):
        wrapped = np.vstack((plane[-border:], plane, plane[:border]))
        moved = cv2.remap(
            wrapped, map_x.astype(np.float32), np.clip(map_y, 0, lines + 2 * border - 1),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )  # fmt: skip
        bent.append(blur_wrapped(as_plane(moved), style.blur_px, style.smear_px))
    return bent[0], bent[1]


def blur_wrapped(plane: Plane, across_px: float, extra_along_px: float) -> Plane:
    """Blur a plane whose rows wrap around: `across_px` both ways and a little more along the roll."""
    border = 8
    along_px = float(np.hypot(across_px, extra_along_px))
    wrapped = np.vstack((plane[-border:], plane, plane[:border]))
    blurred = cv2.GaussianBlur(wrapped, (0, 0), sigmaX=across_px, sigmaY=along_px)
    return as_plane(blurred[border:-border])
