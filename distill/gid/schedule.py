"""Compute the weight of the teacher from the progress of the training."""

from __future__ import annotations

import math

from distill.settings.distillation import Distillation


def distillation_fraction(settings: Distillation, epochs_done: float, epochs: int) -> float:
    """Return the factor of all distillation terms: it rises in a line, stays or falls.

    Args:
        epochs_done: since the beginning, with fractions.
        epochs: of the whole training.
    Returns:
        In [0, 1]: 0 at the beginning if there is a warm-up; `final_share` at the end if there is a decay.
    """
    if epochs_done < settings.warmup_epochs:
        return epochs_done / settings.warmup_epochs
    left = epochs - settings.warmup_epochs
    progress = min(1.0, (epochs_done - settings.warmup_epochs) / left) if left > 0 else 0.0
    fallen = {
        "constant": 0.0,
        "linear": progress,
        "cosine": (1 - math.cos(math.pi * progress)) / 2,
    }[settings.decay]
    return 1 - (1 - settings.final_share) * fallen
