"""Bring regions into the form that detectors are scored and merged in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from distill.labels.sets.annotations import Region
from edge.core.detections import Detections


def as_detections(regions: Sequence[Region], class_id: Callable[[str], int]) -> Detections:
    """Return regions as detections; one without a score, drawn by a person say, has 1.

    Args:
        regions: named.
        class_id: returns the id of a label, or raises.
    """
    return Detections(
        np.array([region.box_xyxy_px for region in regions], np.float32).reshape(-1, 4),
        np.array([1.0 if region.score is None else region.score for region in regions], np.float32),
        np.array([class_id(region.label) for region in regions], np.int64),
    )
