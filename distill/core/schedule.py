"""Compute the learning rate of each step from the progress of the training."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """Rise in a line, then fall as a cosine (Loshchilov and Hutter, SGDR, 2017, one period).

    With a time limit, progress is the larger fraction of steps or time: on a slow machine the rate still
    comes down before the time is up.
    """

    peak: float
    final_share: float
    warmup_steps: float
    total_steps: int
    time_limit_s: float | None

    def learning_rate(self, step: int, elapsed_s: float) -> float:
        """Return the rate for a step, counted from 0."""
        progress = step / self.total_steps
        if self.time_limit_s:
            progress = max(progress, elapsed_s / self.time_limit_s)
        cosine = (1 + math.cos(math.pi * min(1.0, progress))) / 2
        rise = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        return self.peak * rise * (self.final_share + (1 - self.final_share) * cosine)

    def is_over(self, elapsed_s: float) -> bool:
        """Tell whether the time is up."""
        return self.time_limit_s is not None and elapsed_s >= self.time_limit_s
