"""Print results of benchmarks: whole, however narrow the terminal, and with what makes them doubtful."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import Console

from edge.process.other_load import BUSY_CORES, busy_words

WIDE_COLUMNS = 160


def wide_console() -> Console:
    """Return a console whose tables are not squeezed where nobody looks at a screen."""
    return Console(width=None if sys.stdout.isatty() else WIDE_COLUMNS, highlight=False)


def print_busy(console: Console, loads: Iterable[float | None]) -> None:
    """Mark a measurement during which other processes were at work, with the cure."""
    most = max((cores for cores in loads if cores is not None), default=0.0)
    if most > BUSY_CORES:
        console.print(f"warning: {busy_words(most)}", soft_wrap=True, markup=False)
