"""Measure the yarn pitch of a real cloth, warp and weft, from the spectrum of its image."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cloth.mask import Mask
from edge.core.image import Image
from edge.simulator.planes import Plane, as_plane

SHORTEST_PX, LONGEST_PX = 2.2, 16.0
"""Pitches that are looked for: finer yarns are not resolved, coarser ones no camera of a loom shows."""

BAND_PX = 64
"""Lines that are averaged into one profile: yarns that cross them cancel out, a slight skew does not."""

PROFILE_PX = 256
"""Length of a profile, or less where the image is smaller: some thirty yarns or more."""

LEAST_PEAK = 8.0
"""Power of a yarn's line over that of the spectrum around it is at least 1 plus this over the root of the
number of profiles. White noise reaches 6 (two profiles to twelve)."""

MOST_PROFILES = 128
"""More tell nothing new."""

MOST_SIDE_PX = 4096
"""Of an image so much is looked at each way, in its middle."""

FINE_PARTS = 8
"""Zeros are added to a profile until its spectrum has so many points for each that it had."""


@dataclass(frozen=True, slots=True)
class YarnPitch:
    """Hold the distances between yarns in pixels; None where no regular yarns are seen.

    Attributes:
        warp_px: between ends, along a line of the image.
        weft_px: between picks, along a column.
    """

    warp_px: float | None
    weft_px: float | None


def measure_pitch(grey: Image, is_cloth: Mask) -> YarnPitch:
    """Measure the yarn pitch of a cloth whose warp runs down the image.

    Args:
        grey: (H, W) uint8.
        is_cloth: (H, W) bool.
    """
    middle = tuple(
        slice(max(0, (side - MOST_SIDE_PX) // 2), (side + MOST_SIDE_PX) // 2) for side in grey.shape
    )
    weave = _weave(grey[middle], is_cloth[middle])
    return YarnPitch(_pitch_across(weave), _pitch_across(np.ascontiguousarray(weave.T)))


def _weave(grey: Image, is_cloth: Mask) -> Plane:
    """Return the cloth without its slow changes of brightness; 0 where there is none."""
    cloth = is_cloth.astype(np.float32)
    side = (2 * round(LONGEST_PX) + 1,) * 2
    mean = cv2.blur(grey * cloth, side) / np.maximum(cv2.blur(cloth, side), 1e-6)
    return as_plane((grey - mean) * cloth)


def _pitch_across(weave: Plane) -> float | None:
    """Return the pitch of the yarns that run down; None if there is none.

    Of a weave each end has its line at (1 / pitch, 0) in the spectrum, the crossings lie off that axis:
    averaged over a band of lines they vanish.
    """
    profiles = _profiles(weave)
    if not len(profiles):
        return None
    power = _power(profiles)
    frequency = np.arange(len(power)) / (FINE_PARTS * profiles.shape[1])
    looked_for = (frequency > 1 / LONGEST_PX) & (frequency < 1 / SHORTEST_PX)
    prominence = np.where(looked_for, power / _ground(power), 0.0)
    peak = int(prominence.argmax())
    if prominence[peak] < 1 + LEAST_PEAK / np.sqrt(len(profiles)):
        return None
    return float(1 / frequency[peak])


def _profiles(weave: Plane) -> Plane:
    """Return the mean brightness of bands of lines, cut to equal lengths: (N, length) float32.

    N is 0 if the image is too small to hold a few yarns, or shows none.
    """
    lines, columns = weave.shape
    length, band = min(PROFILE_PX, columns), min(BAND_PX, lines)
    if length < 4 * LONGEST_PX or band < 2 * LONGEST_PX:
        return np.zeros((0, length), np.float32)
    weight = np.hanning(band + 2)[1:-1].astype(np.float32)
    weight /= weight.sum()
    profiles = [
        weight @ weave[top : top + band, left : left + length]
        for top in range(0, lines - band + 1, band)
        for left in range(0, columns - length + 1, length // 2)
    ]
    held = np.asarray([profile for profile in profiles if profile.any()], np.float32).reshape(-1, length)
    return held[:: max(1, len(held) // MOST_PROFILES)]


def _power(profiles: Plane) -> NDArray[np.float64]:
    """Return the mean power spectrum of profiles."""
    window = np.hanning(profiles.shape[1])
    spectra = np.fft.rfft(profiles * window, FINE_PARTS * profiles.shape[1], axis=1)
    return np.asarray((np.abs(spectra) ** 2).mean(axis=0), np.float64)


def _ground(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the spectrum without its lines: the median of the surroundings of each point."""
    reach = 12 * FINE_PARTS
    padded = np.pad(power, reach, mode="reflect")
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)[:, ::4]
    return np.asarray(np.maximum(np.median(around, axis=1), 1e-6), np.float64)
