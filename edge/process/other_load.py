"""Measure how busy other processes keep the processor while something is timed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from typing_extensions import Self

STAT: Final = Path("/proc/stat")

BUSY_CORES: Final = 0.25
"""More than this of other processes, on average, slows down what is timed by more than it varies anyway."""

IDLE_FIELDS: Final = (3, 4)
"""Of the first line of /proc/stat: idle, and waiting for a disk (man 5 proc)."""

GUEST_FIELD: Final = 8
"""From here on the fields are in the others already."""


class OtherLoad:
    """Count the processor time of other processes inside a with-block.

    Args:
        stat: the file that the kernel counts in.
    Attributes:
        cores: how many cores other processes kept busy, on average; None where the system does not say.
    """

    def __init__(self, stat: Path = STAT) -> None:
        self._stat = stat
        self._start = (0.0, 0.0)
        self._busy_s: float | None = None
        self.cores: float | None = None

    def __enter__(self) -> Self:
        self._start = (time.monotonic(), _own_s())
        self._busy_s = _busy_s(self._stat)
        return self

    def __exit__(self, *error: object) -> None:
        start_s, own_s = self._start
        seconds, busy_s = time.monotonic() - start_s, _busy_s(self._stat)
        if self._busy_s is None or busy_s is None or seconds <= 0:
            return
        others_s = busy_s - self._busy_s - (_own_s() - own_s)
        self.cores = round(max(0.0, others_s / seconds), 2)

    @property
    def warning(self) -> str | None:
        """What to say of a measurement on a busy computer; None where there is nothing to say."""
        if self.cores is None or self.cores <= BUSY_CORES:
            return None
        return busy_words(self.cores)


def busy_words(cores: float) -> str:
    """Say that others kept cores busy during a measurement, with the cure."""
    kept = f"{cores:.1f} cores" if f"{cores:.1f}" != "1.0" else "1.0 core"
    return (
        f"this device was BUSY: other processes kept {kept} at work meanwhile, so the times are too long. "
        "End them (see `top`) and measure again."
    )


def _own_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _busy_s(stat: Path) -> float | None:
    try:
        words = stat.read_text(encoding="ascii").splitlines()[0].split()[1:]
        ticks = [int(word) for word in words[:GUEST_FIELD]]
    except (OSError, ValueError, IndexError):
        return None
    busy = sum(count for field, count in enumerate(ticks) if field not in IDLE_FIELDS)
    return busy / os.sysconf("SC_CLK_TCK")
