"""Print what makes the result of a benchmark doubtful."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console

from edge.process.other_load import BUSY_CORES, busy_words


def print_busy(console: Console, loads: Iterable[float | None]) -> None:
    """Mark a measurement during which other processes were at work, with the cure."""
    most = max((cores for cores in loads if cores is not None), default=0.0)
    if most > BUSY_CORES:
        console.print(f"warning: {busy_words(most)}", soft_wrap=True, markup=False)
