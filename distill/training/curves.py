"""Draw the epochs of a training: loss parts, and quality on the validation tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from distill.core import run_page
from distill.core.figures import count_epochs, new_figure, plain
from edge.core.counted import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]

STYLES = ("-", "--", ":", "-.")
QUALITY = {"map50": "mAP50", "map50_95": "mAP50-95"}


def curves_section(history: Rows, title: str = "Training") -> str:
    """Return the section of a page that shows how training went."""
    if not history:
        return run_page.section(title, run_page.text("No epoch was trained."))
    losses = [key for key in history[-1] if key.startswith("loss")]
    best = best_epoch(history)
    which = f" The best is epoch {best['epoch'] + 1}:" if len(history) > 1 else ""
    lines = [
        run_page.text(
            f"{counted(len(history), 'epoch')}, {sum(row['seconds'] for row in history):.0f} s.{which} "
            f"{_quality(best)} on the validation tiles."
        )
    ]
    diagrams = [
        run_page.diagram(_drawn(history, {key: key.replace("_", " ") for key in losses}, "loss"),
                         "loss over the epochs"),
        run_page.diagram(_drawn(history, QUALITY, "on the validation tiles"), "mAP over the epochs"),
    ]  # fmt: skip
    return run_page.section(title, *lines, run_page.side_by_side(diagrams))


def best_epoch(history: Rows) -> Mapping[str, Any]:
    """Return the row of the epoch that `best.pt` is of: the first with the highest mean of both mAP."""
    return max(history, key=lambda row: row["map50"] + row["map50_95"])


def since_first_epoch(history: Rows) -> str:
    """Say how far a training came since its first epoch, on the same tiles.

    What a detector gives before its first epoch is not in the history, and so it is not compared with.
    """
    if not history:
        return "no epoch was trained"
    first, best = history[0], best_epoch(history)
    if len(history) == 1:
        return f"{_quality(best)} on the validation tiles after one epoch: there is nothing to compare with"
    since, epochs = f"epoch {first['epoch'] + 1}", counted(len(history), "epoch")
    if best is first:
        return (
            f"{_quality(best)} on the validation tiles after {since}: the best of {epochs}, none got better"
        )
    changes = ", ".join(f"{name} {first[key]:.3f} -> {best[key]:.3f}" for key, name in QUALITY.items())
    return (
        f"{changes} on the same validation tiles, after {since} -> after the best of {epochs}, epoch "
        f"{best['epoch'] + 1}"
    )


def _quality(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {row[key]:.3f}" for key, name in QUALITY.items())


def _drawn(history: Rows, shown: Mapping[str, str], label: str) -> Figure:
    figure = new_figure(run_page.FIGURE_IN)
    axes: Any = figure.subplots()
    for number, (key, name) in enumerate(shown.items()):
        points = [(row["epoch"] + 1, row[key]) for row in history if row.get(key) is not None]
        style = STYLES[number % len(STYLES)]
        axes.plot(
            *zip(*points, strict=True), style, marker=".", color=str(0.15 * (number % 5)), label=plain(name)
        )
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)
    count_epochs(axes)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
