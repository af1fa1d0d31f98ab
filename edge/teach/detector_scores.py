"""Scale scores of the detector on clean cloth so that their tail can be extrapolated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.config.alarm_budget import ENOUGH_IMAGES
from edge.inference.inspector import FLOOR
from edge.teach.calibration import TAIL, Tail

Floats = NDArray[np.float64]

LOWERED: Final = 0.5
"""The lowest that a threshold becomes, times the bundle's own: that one was chosen on defects, and clean
cloth says nothing of how well a weak box fits one."""

SCORE_STEP: Final = 0.002
"""Above the greatest score seen."""

PRIOR_SCORES: Final = 5
PRIOR_SCALE: Final = 1.0
"""Few scores are shrunk towards a tail with this mean excess, in logits, as if so many had been seen."""


def logit(scores: Floats) -> Floats:
    """Return ln(s / (1 - s)); 0 and 1 become large finite numbers."""
    kept = np.clip(np.asarray(scores, np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(kept / (1 - kept)), np.float64)


def score_of(value: float) -> float:
    """Return the score that has this logit."""
    return float(1 / (1 + np.exp(-value)))


def score_tail(maxima: Floats) -> Tail:
    """Estimate the tail of one class.

    It starts where as many stretches as a tail is estimated from would exceed it: below `FLOOR`, if fewer
    reach that.

    Args:
        maxima: (n,) logit of the greatest score of the class on each stretch; NaN where it has none.
    """
    seen = np.sort(maxima[np.isfinite(maxima)])[::-1]
    start = float(seen[TAIL]) if len(seen) > TAIL else float(logit(np.array(FLOOR)))
    excess = seen[:TAIL] - start
    count = len(excess) + PRIOR_SCORES
    scale = (float(excess.sum()) + PRIOR_SCORES * PRIOR_SCALE) / count
    rarer = Tail(0.0, scale, count).value_at(float(np.log(TAIL / max(len(excess), 0.5))))
    return Tail(start - rarer, scale, count)


def least_thresholds(own: Mapping[str, float]) -> dict[str, float]:
    """Return the lowest threshold that clean cloth can set for each class."""
    return {name: threshold * LOWERED for name, threshold in own.items()}


def thresholds_at(
    level: float, tails: Mapping[str, Tail], own: Mapping[str, float], most: Mapping[str, float]
) -> dict[str, float]:
    """Return the threshold of each class at a level of the common scale, rounded up to 0.001.

    Args:
        level: surprise.
        tails: of each class.
        own: thresholds of the bundle.
        most: the highest that each may become.
    """
    least = least_thresholds(own)
    found = {name: max(min(score_of(tails[name].value_at(level)), most[name]), least[name]) for name in own}
    return {name: min(1.0, float(np.ceil(value * 1000 - 1e-9) / 1000)) for name, value in found.items()}


def most_thresholds(own: Mapping[str, float], seen: Mapping[str, float], images: int) -> dict[str, float]:
    """Return the highest threshold that clean cloth can set for each class.

    A few images say less of a detector than what its bundle's thresholds were chosen on: they raise one no
    further than to where they themselves show no false alarm.

    Args:
        own: thresholds of the bundle.
        seen: the greatest score of each class on the clean cloth.
        images: how many there are.
    """
    if images >= ENOUGH_IMAGES:
        return dict.fromkeys(own, 1.0)
    return {name: max(threshold, seen[name] + SCORE_STEP) for name, threshold in own.items()}
