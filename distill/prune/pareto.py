"""Draw the cost and the quality of each step of a pruning."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distill.core.figures import Diagram, plain
from distill.evaluation.scorecard import ScorecardRow
from distill.prune.stage_times import StageTimes
from edge.core.palette import BLUE

CUT, RECOVERED = "cut-", "recovered-"

Cost = Callable[[ScorecardRow], float | None]


def draw_pareto(rows: Sequence[ScorecardRow], times: StageTimes) -> Figure:
    """Draw mAP50-95 over latency, MACs and size.

    Detectors that have recovered are joined by a line; those that were only cut are hollow.
    """
    costs: dict[str, Cost] = {
        f"ms of one input, {times.runtime}": lambda row: times.ms.get(row.stage.replace(CUT, RECOVERED)),
        "MACs of one input, GMACs": lambda row: row.macs / 1e9,
        "weights, million": lambda row: row.parameters / 1e6,
    }
    figure = Diagram((13, 4.2))
    for axes, (label, cost) in zip(figure.subplots(1, len(costs), sharey=True), costs.items(), strict=True):
        _draw(axes, rows, cost)
        axes.set_xlabel(label)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("mAP50-95")
    return figure


def _draw(axes: Axes, rows: Sequence[ScorecardRow], cost: Cost) -> None:
    points = [
        (row, x, row.map50_95) for row in rows if (x := cost(row)) is not None and row.map50_95 is not None
    ]
    whole = sorted((x, y) for row, x, y in points if not row.stage.startswith(CUT))
    axes.plot([x for x, _ in whole], [y for _, y in whole], "-", color=BLUE.hex, alpha=0.5)
    for row, x, y in points:
        is_cut = row.stage.startswith(CUT)
        axes.plot(x, y, "o", color=BLUE.hex, fillstyle="none" if is_cut else "full")
        axes.annotate(plain(row.stage), (x, y), xytext=(5, 3), textcoords="offset points", fontsize=8)
