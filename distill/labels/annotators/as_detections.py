"""Bring regions into the form that detectors are scored and merged in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distill.labels.sets.annotations import Region
from edge.core.detections import Detections


def as_detections(regions: Sequence[Region], names: Sequence[str]) -> Detections:
    """Return regions as detections; one without a score, drawn by a person say, has 1.

    Args:
        regions: their labels are among the names.
        names: of the classes, in the order of their ids.
    """
    return Detections(
        np.array([region.box_xyxy_px for region in regions], np.float32).reshape(-1, 4),
        np.array([1.0 if region.score is None else region.score for region in regions], np.float32),
        np.array([names.index(region.label) for region in regions], np.int64),
    )
