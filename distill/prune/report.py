"""Report a plan: a table of the layers and a bar for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from torch import nn

from distill.core.figures import new_figure, write_figure
from distill.detector.channels import channel_graph
from distill.prune.apply import groups_kept
from distill.prune.costs import channels_of, costs_of
from distill.prune.plan import PruningPlan
from edge.core.palette import BLUE, SOFT_INK
from edge.process.terminal import as_cell
from edge.process.whole_table import WholeTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH_IN, HEIGHT_PER_LAYER_IN, MARGIN_IN = 7.0, 0.15, 1.0


@dataclass(frozen=True, slots=True)
class LayerRow:
    """Say what a plan does to a convolution.

    Attributes:
        before, kept: output channels.
        macs_before, macs: MACs for one input.
    """

    name: str
    before: int
    kept: int
    macs_before: int
    macs: int


def layer_rows(module: nn.Module, plan: PruningPlan) -> tuple[LayerRow, ...]:
    """Return what a plan does to each convolution, in the order of the forward pass.

    Raises:
        ConfigError: if the plan is of another structure.
    """
    graph = channel_graph(module)
    image = graph.convolutions[0].inputs[0]
    shape = (graph.groups[image].size, *plan.input_size_hw_px)
    costs = costs_of(module, graph, shape)
    counts = tuple(len(kept) for kept in groups_kept(graph, plan))
    before, after = costs.layer_macs(costs.whole), costs.layer_macs(counts)
    return tuple(
        LayerRow(
            name=one.name,
            before=channels_of(one.outputs, costs.whole),
            kept=channels_of(one.outputs, counts),
            macs_before=before[one.name],
            macs=after[one.name],
        )
        for one in graph.convolutions
    )


def print_plan(plan: PruningPlan, rows: Sequence[LayerRow], console: Console) -> None:
    """Print a plan layer by layer, and what it comes to."""
    table = WholeTable(box=SIMPLE, pad_edge=False)
    table.add_column("layer", no_wrap=True)
    for heading in ("channels", "kept", "share", "MACs before", "MACs"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            as_cell(row.name),
            str(row.before),
            str(row.kept),
            f"{row.kept / row.before:.0%}",
            f"{row.macs_before / plan.macs_before:.1%}",
            f"{row.macs / plan.macs_before:.1%}",
        )
    console.print(table)
    console.print(summary(plan), highlight=False)


def summary(plan: PruningPlan) -> str:
    """Say in one line what a plan is and what it leaves."""
    options = plan.options
    return (
        f"{plan.planner} planner, {options.importance}, {options.scope}, channels by {options.round_to}: "
        f"{plan.macs_before / 1e9:.3f} -> {plan.macs / 1e9:.3f} GMACs ({plan.macs_share:.1%}), "
        f"{plan.parameters / 1e6:.3f} M parameters"
    )


def write_chart(plan: PruningPlan, rows: Sequence[LayerRow], file: Path) -> None:
    """Draw a plan as PNG: a bar for each layer, its channels before and those kept.

    Raises:
        OutputError: if it cannot be written.
    """
    write_figure(draw_plan(plan, rows), file)


def draw_plan(plan: PruningPlan, rows: Sequence[LayerRow]) -> Figure:
    """Draw a bar for each layer, the first on top: channels before in grey, those kept in front."""
    figure = new_figure((WIDTH_IN, MARGIN_IN + HEIGHT_PER_LAYER_IN * len(rows)))
    axes: Any = figure.subplots()
    names = [row.name.removeprefix("model.").removesuffix(".conv") for row in rows]
    axes.barh(names, [row.before for row in rows], color=SOFT_INK.hex, label="before")
    axes.barh(names, [row.kept for row in rows], color=BLUE.hex, label="kept")
    axes.invert_yaxis()
    axes.margins(y=0.005)
    axes.tick_params(axis="y", labelsize=6)
    axes.set(xlabel="channels", title=f"{plan.macs_share:.1%} of the MACs")
    axes.legend(loc="lower right")
    return figure
