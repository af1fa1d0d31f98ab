"""Draw cost and quality: of the candidates of a step, and of each step of a pruning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from distill.core.figures import new_figure, plain
from distill.core.run_page import FIGURE_IN
from distill.evaluation.scorecard import ScorecardRow
from distill.prune.candidates import ScoredPlan
from distill.prune.stage_times import StageTimes
from edge.core.palette import BLUE, INK, ORANGE, SOFT_INK, WHITE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CUT, RECOVERED = "cut-", "recovered-"

LABEL_GAP = 0.075
"""Least distance of two labels, as a fraction of the height of a diagram."""

MARKERS = {"threshold": "s", "depgraph": "o"}

Cost = Callable[[ScorecardRow], float | None]
Point = tuple[float, float, str]


def draw_candidates(candidates: Sequence[ScoredPlan], taken: int) -> Figure:
    """Draw mAP50-95 right after the cut over the MACs ratio; the numbers are those of the table.

    Args:
        taken: position of the one that was taken.
    """
    figure = new_figure(FIGURE_IN)
    axes: Any = figure.subplots()
    for planner, marker in MARKERS.items():
        mine = [one for one in candidates if one.planner == planner]
        if mine:
            axes.plot([one.macs_share for one in mine], [one.map50_95 for one in mine], marker,
                      color=BLUE.hex, fillstyle="none", markersize=7, label=plain(planner))  # fmt: skip
    best = candidates[taken]
    axes.plot(best.macs_share, best.map50_95, MARKERS[best.planner], color=ORANGE.hex,
              markeredgecolor=INK.hex, markersize=9, label="taken")  # fmt: skip
    front = pareto_front([(one.macs_share, one.map50_95) for one in candidates])
    axes.step(
        *zip(*front, strict=True),
        where="post",
        color=SOFT_INK.hex,
        linewidth=1,
        zorder=0,
        label="Pareto front",
    )
    points = [(one.macs_share, one.map50_95, str(number)) for number, one in enumerate(candidates, 1)]
    axes.set_ylim(*limits([y for _, y, _ in points]))
    _label(axes, points)
    axes.set(xlabel="MACs ratio", ylabel="mAP50-95 right after the cut")
    axes.margins(x=0.3)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.2), ncols=2, frameon=False)
    return figure


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that no other one beats by less cost and more quality, by rising cost."""
    front: list[tuple[float, float]] = []
    for cost, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or quality > front[-1][1]:
            front.append((cost, quality))
    return front


def draw_stages(rows: Sequence[ScorecardRow], times: StageTimes) -> Iterator[tuple[str, Figure]]:
    """Draw mAP50-95 over latency, MACs and weights, a diagram each.

    Detectors that have recovered are joined by a line; those that were only cut are hollow.

    Yields:
        What the cost is, and the diagram.
    """
    costs: dict[str, Cost] = {
        f"ms of one input, {times.runtime}": lambda row: times.ms.get(row.stage.replace(CUT, RECOVERED)),
        "GMACs of one input": lambda row: row.macs / 1e9,
        "weights, million": lambda row: row.parameters / 1e6,
    }
    for label, cost in costs.items():
        yield label, _drawn(rows, label, cost)


def _drawn(rows: Sequence[ScorecardRow], label: str, cost: Cost) -> Figure:
    figure = new_figure(FIGURE_IN)
    axes: Any = figure.subplots()
    points = [
        (x, row.map50_95, row.stage)
        for row in rows
        if (x := cost(row)) is not None and row.map50_95 is not None
    ]
    whole = sorted((x, y) for x, y, stage in points if not stage.startswith(CUT))
    axes.plot([x for x, _ in whole], [y for _, y in whole], "-", color=BLUE.hex, alpha=0.5)
    for x, y, stage in points:
        axes.plot(x, y, "o", color=BLUE.hex, fillstyle="none" if stage.startswith(CUT) else "full")
    axes.set(xlabel=label, ylabel="mAP50-95")
    axes.set_xlim(0, 1.35 * max((x for x, _, _ in points), default=1))
    axes.set_ylim(*limits([0.0, *(y for _, y, _ in points)]))
    axes.grid(alpha=0.3)
    _label(axes, points)
    return figure


def _label(axes: Any, points: Sequence[Point]) -> None:
    """Write the name of each point to its right, none over another."""
    low, high = axes.get_ylim()
    gap = LABEL_GAP * ((high - low) or 1)
    for (x, y, name), at in zip(points, spread([y for _, y, _ in points], gap), strict=True):
        axes.annotate(
            plain(name), (x, y), xytext=(12, (at - y) / gap * 12), textcoords="offset points", fontsize=8,
            va="center", arrowprops={"arrowstyle": "-", "color": SOFT_INK.hex, "linewidth": 0.6},
            bbox={"facecolor": WHITE.hex, "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
        )  # fmt: skip


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Return limits of an axis between which all values and the labels beside them have room."""
    low, high = min(values), max(values)
    height = max(1.2 * (high - low), 0.1 * abs(high), 0.01)
    while True:
        bottom = low - LABEL_GAP * height
        top_label = max(spread(values, LABEL_GAP * height))
        has_room = top_label + LABEL_GAP * height <= bottom + height
        if has_room or (len(values) + 1) * LABEL_GAP > 1:  # so many never have room
            return bottom, bottom + height
        height *= 1.1


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Move values upwards so that each is at least a gap above the next lower one."""
    moved = list(values)
    last = float("-inf")
    for index in sorted(range(len(values)), key=lambda index: values[index]):
        moved[index] = last = max(values[index], last + gap)
    return moved
