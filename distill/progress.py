"""Show on stderr how training goes."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from typing_extensions import Self


class ConsoleListener:
    """Draw a bar for the steps of the run and print a line for each epoch."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def batch_done(self, epoch: int, done: int, total: int, loss: float) -> None:
        """Move the bar."""
        self._progress.update(
            self._bar,
            completed=epoch * total + done,
            total=self._epochs * total,
            epoch=f"{epoch + 1}/{self._epochs}",
            loss=loss,
        )

    def epoch_done(self, row: Mapping[str, Any]) -> None:
        """Print the epoch."""
        rate = row["tiles"] / row["seconds"] if row["seconds"] else 0.0
        self._progress.console.print(
            f"epoch {row['epoch'] + 1}/{self._epochs}  loss {row['loss']:.3f}  "
            f"mAP50 {row['map50']:.3f}  mAP50-95 {row['map50_95']:.3f}  "
            f"{row['seconds']:.0f} s, {rate:.0f} tiles/s",
            highlight=False,
        )
