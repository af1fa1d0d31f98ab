"""Keep clean cloth clean: chance must not weave in what an inspector would call a defect.

The variation of yarns is random, and among the crossings of a texture some come out as a dark fleck or as a
patch of wild weave that nobody could tell from a nep or a dropped stitch. They would be defects without
ground truth, and come again with every repeat of the texture.
"""

from __future__ import annotations

import cv2
import numpy as np

from edge.simulator.planes import Plane, as_plane

FLECK_DEVIATIONS = 2.2
"""Brightness, blurred over one yarn, beyond so many deviations is taken back. Subtle planted defects begin
at 4.5 (`patch.CONTRAST_RANGES`)."""

WILD_DEVIATIONS = 1.5
"""Contrast of the weave beyond its mean plus so many standard deviations is taken back."""

ROUNDS = 3
"""Each takes away a part of what is still beyond the limits; the strongest flecks stay visible, weaker."""


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
