"""Draw how a fine-tuning went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.core.figures import count_epochs, new_figure, write_figure


def draw_curves(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Draw loss and mean average precision over the epochs into a PNG.

    Args:
        rows: of history.jsonl; a value that a row lacks leaves a gap.
        file: what to write.
    Raises:
        OutputError: if it cannot be written.
    """
    figure = new_figure((9, 3.6))
    losses, precision = figure.subplots(1, 2)
    _lines(losses, rows, {"loss": "training", "val_loss": "validation"})
    losses.set_ylabel("loss, nats per token")
    _lines(precision, rows, {"map50": "mAP50", "map50_95": "mAP50-95"})
    precision.set_ylabel("mean average precision, validation")
    precision.set_ylim(0, 1)
    write_figure(figure, file)


def _lines(axes: Any, rows: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> None:
    for key, label in names.items():
        known = [(row["epoch"] + 1, row[key]) for row in rows if row.get(key) is not None]
        if known:
            axes.plot(*zip(*known, strict=True), marker=".", label=label)
    count_epochs(axes)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(loc="upper right")  # the best place takes long to find among many points
