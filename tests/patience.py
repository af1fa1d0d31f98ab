"""Waiting for other threads and processes, with a patience that a busy processor does not use up."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE_S = 120.0


def wait_for(condition: Callable[[], T], seconds: float = PATIENCE_S) -> T:
    """Wait until a condition holds, and return its last value: false where it did not hold in time.

    Args:
        condition: asked fifty times a second.
        seconds: of patience; give fewer only where the condition is expected not to hold.
    """
    end_s = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end_s:
        time.sleep(0.02)
    return value
