"""Show on stderr how training goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from typing_extensions import Self

LOG_LINE_S = 60.0
"""Where there is no terminal to draw a bar on, a line is printed this often."""

DETECTOR_SHOWN: Final = {"loss": "loss", "map50": "mAP50", "map50_95": "mAP50-95"}


class Listener(Protocol):
    """Hear how training goes."""

    def batch_done(self, epoch: int, done: int, total: int, loss: float) -> None:
        """Hear of a step."""

    def epoch_done(self, row: Mapping[str, Any]) -> None:
        """Hear of an epoch: the row of history.jsonl."""


class ConsoleListener:
    """Draw a bar for the steps of the run, or print a line a minute into a log, and one for each epoch.

    Args:
        epochs: of the whole run.
        shown: what the line of an epoch says of its row of the history, key -> word.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        epochs: int,
        shown: Mapping[str, str] = DETECTOR_SHOWN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._epochs = epochs
        self._shown = shown
        self._clock = clock
        self._last_line_s = clock()
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("loss {task.fields[loss]:.2f}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar = self._progress.add_task("train", total=None, epoch="", loss=0.0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def batch_done(self, epoch: int, done: int, total: int, loss: float) -> None:
        """Move the bar, or print a line if the last one is a minute old."""
        self._progress.update(
            self._bar,
            completed=epoch * total + done,
            total=self._epochs * total,
            epoch=f"{epoch + 1}/{self._epochs}",
            loss=loss,
        )
        if not self._progress.console.is_terminal and self._clock() - self._last_line_s >= LOG_LINE_S:
            self._last_line_s = self._clock()
            self._print(f"epoch {epoch + 1}/{self._epochs}  step {done}/{total}  loss {loss:.2f}")

    def epoch_done(self, row: Mapping[str, Any]) -> None:
        """Print the epoch."""
        known = [f"{word} {row[key]:.3f}" for key, word in self._shown.items() if row[key] is not None]
        time_taken = f"{row['seconds']:.0f} s"
        if "tiles" in row:
            time_taken += f", {row['tiles'] / row['seconds'] if row['seconds'] else 0.0:.0f} tiles/s"
        self._print("  ".join([f"epoch {row['epoch'] + 1}/{self._epochs}", *known, time_taken]))

    def _print(self, line: str) -> None:
        self._progress.console.print(line, highlight=False)
