"""Build endless planes from short ones: each repeats after its own prime number of lines.

A line of the roll takes row ``line % period`` of every bank, so that what a line looks like does not
depend on the block it is asked for in, and so that all banks together repeat only after kilometres.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from edge.core.image import Image
from edge.simulator.options import Look, LoomOptions
from edge.simulator.planes import smooth_noise
from edge.simulator.style import ClothStyle

BANK_STREAM = 3
SHADE_PERIODS: dict[Look, tuple[int, int]] = {"drawn": (613, 757), "woven": (307, 379)}
NOISE_PERIODS: dict[Look, tuple[int, int]] = {"drawn": (509, 521), "woven": (251, 257)}
"""Primes, so that a pair of them repeats after about 464,000 and 265,000 lines; 116,000 and 65,000."""

HALF_NORMAL_SPREAD = 0.8525
"""Standard deviation of |a| - |b| for two standard normal a and b: sqrt(2 (1 - 2 / pi))."""


@dataclass(frozen=True, slots=True, eq=False)
class Banks:
    """Hold what is added to and taken from the texture, planes of (period, width * channels) uint8.

    Attributes:
        brighter: density of the cloth, added; 0 over the bed.
        darker: density of the cloth, taken away.
        noise_up: sensor noise, added.
        noise_down: sensor noise, taken away.
    """

    brighter: Image
    darker: Image
    noise_up: Image
    noise_down: Image


def draw_banks(options: LoomOptions, style: ClothStyle) -> Banks:
    """Draw the banks of a roll from its seed."""
    rng = np.random.default_rng([options.seed, BANK_STREAM])
    brighter, darker = (_draw_shade(options, style, rng, period) for period in SHADE_PERIODS[options.look])
    noise_up, noise_down = (
        _draw_noise(options, style, rng, period) for period in NOISE_PERIODS[options.look]
    )
    return Banks(brighter, darker, noise_up, noise_down)


def add_bank(plane: Image, bank: Image, first_line: int) -> None:
    """Add the bank's rows for these lines to a plane (lines, columns) in place, up to 255."""
    for rows, bank_rows in _runs(first_line, len(plane), len(bank)):
        cv2.add(plane[rows], bank[bank_rows], dst=plane[rows])


def subtract_bank(plane: Image, bank: Image, first_line: int) -> None:
    """Take the bank's rows for these lines from a plane (lines, columns) in place, down to 0."""
    for rows, bank_rows in _runs(first_line, len(plane), len(bank)):
        cv2.subtract(plane[rows], bank[bank_rows], dst=plane[rows])


def copy_bank(plane: Image, bank: Image, first_line: int) -> None:
    """Fill a plane (lines, columns) with the bank's rows for these lines."""
    for rows, bank_rows in _runs(first_line, len(plane), len(bank)):
        np.copyto(plane[rows], bank[bank_rows])


def _runs(first_line: int, count: int, period: int) -> Iterator[tuple[slice, slice]]:
    """Cut a range of lines where the bank starts again: rows of the plane, rows of the bank."""
    done = 0
    while done < count:
        start = (first_line + done) % period
        length = min(count - done, period - start)
        yield slice(done, done + length), slice(start, start + length)
        done += length


def _draw_shade(options: LoomOptions, style: ClothStyle, rng: np.random.Generator, period: int) -> Image:
    """Draw clouds and bars, the positive part only, as uint8; nothing over the bed."""
    left_px, right_px = options.cloth_in_view_px
    size_hw = (period, right_px - left_px)
    clouds = smooth_noise(rng, size_hw, (period // 40, max(2, size_hw[1] // 60)))
    bars = smooth_noise(rng, (period, 1), (round(period / style.weft_pitch_px / 1.5), 2))[:, :1]
    shade = clouds * np.float32(style.clouds_grey * 1.4) + bars * np.float32(style.bars_grey * 1.4)
    shade += rng.random(size_hw, dtype=np.float32)
    bank = np.zeros((period, options.width_px), dtype=np.uint8)
    bank[:, left_px:right_px] = np.clip(shade, 0, 255)
    return np.repeat(bank, 3, axis=1) if options.colour else bank


def _draw_noise(options: LoomOptions, style: ClothStyle, rng: np.random.Generator, period: int) -> Image:
    """Draw the magnitudes of normal noise as uint8; the difference of two banks has mean 0."""
    size_hw = (period, options.width_px * (3 if options.colour else 1))
    noise = rng.standard_normal(size_hw, dtype=np.float32)
    np.abs(noise, out=noise)
    noise *= np.float32(style.noise_grey / HALF_NORMAL_SPREAD)
    noise += rng.random(size_hw, dtype=np.float32)
    return np.clip(noise, 0, 255).astype(np.uint8)
