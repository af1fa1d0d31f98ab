"""Compare rows of scorecards side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from rich.box import SIMPLE
from rich.console import Console

from distill.core.figures import new_figure, plain
from distill.evaluation.scorecard import SCORECARD_NAME, ScorecardRow, read_rows
from distill.training.stage_plan import DISTILLED, STUDENT_ALONE, TEACHER
from edge.core.errors import ConfigError
from edge.process.terminal import as_cell
from edge.process.whole_table import WholeTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST_MAP50: Final = 0.05
"""Below it a detector has learnt next to nothing: the noise of a few lucky boxes."""

LEAST_GAIN: Final = 0.005
"""mAP50-95. Less is within what two seeds of one recipe differ by (measured: 0.01 to 0.08)."""


def print_comparison(rows: Sequence[ScorecardRow], console: Console) -> None:
    """Print what models cost and how good they are, what distillation bought, and what to doubt."""
    table = WholeTable(box=SIMPLE, pad_edge=False)
    table.add_column("stage", no_wrap=True)
    for heading in ("weights", "GMACs", "mAP50", "mAP50-95", "recall", "false alarms per m2", "p50 ms"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            as_cell(row.stage),
            f"{row.parameters / 1e6:.2f} M",
            f"{row.macs / 1e9:.2f}",
            *(_shown(value, 3) for value in (row.map50, row.map50_95, row.recall)),
            _shown(row.false_alarms_per_clean_m2, 2),
            _shown(row.latency.p50_ms if row.latency else None, 1),
        )
    console.print(table)
    by_stage = {row.stage: row for row in rows}
    if STUDENT_ALONE in by_stage and DISTILLED in by_stage:
        gain = _gain(by_stage[STUDENT_ALONE], by_stage[DISTILLED])
        console.print(gain, highlight=False, soft_wrap=True)
    for doubt in doubts(rows):
        console.print(as_cell(f"warning: {doubt}"), highlight=False, soft_wrap=True)


def doubts(rows: Sequence[ScorecardRow]) -> list[str]:
    """Say which of the models have learnt nothing, and whether a distillation bought nothing."""
    lines = [
        f"{row.stage} finds next to nothing (mAP50 {row.map50:.3f}). {_cure(row.stage)}"
        for row in rows
        if row.map50 is not None and row.map50 < LEAST_MAP50 and row.recall is not None
    ]
    by_stage = {row.stage: row for row in rows}
    alone, distilled = by_stage.get(STUDENT_ALONE), by_stage.get(DISTILLED)
    if alone is None or distilled is None or alone.map50_95 is None or distilled.map50_95 is None:
        return lines
    gain = distilled.map50_95 - alone.map50_95
    if gain < LEAST_GAIN:
        lines.append(
            f"Distillation bought nothing that can be told from chance (mAP50-95 {gain:+.3f}). "
            "Train longer, with a better teacher, or compare several seeds."
        )
    return lines


def _cure(stage: str) -> str:
    if stage == TEACHER:
        return "What it teaches is noise: train it longer, or give another with --teacher."
    return "Train it longer, or with more labelled images, before it is used."


def _gain(alone: ScorecardRow, distilled: ScorecardRow) -> str:
    changes = [
        f"{name} {ours:.3f} -> {theirs:.3f} ({theirs - ours:+.3f})"
        for name, ours, theirs in (
            ("mAP50", alone.map50, distilled.map50),
            ("mAP50-95", alone.map50_95, distilled.map50_95),
            ("recall", alone.recall, distilled.recall),
        )
        if ours is not None and theirs is not None
    ]
    return f"distillation bought  {'  '.join(changes)}  (student alone -> distilled, same images)"


def _shown(value: float | None, digits: int) -> str:
    return "—" if value is None else f"{value:.{digits}f}"


def gathered(runs: Sequence[Path]) -> list[ScorecardRow]:
    """Read the scorecards of runs; with more than one, a stage's name begins with its run's.

    Args:
        runs: folders, or scorecard files.
    Raises:
        ConfigError: if a run has no scorecard, or none of its rows can be read.
    """
    rows: list[ScorecardRow] = []
    for run in runs:
        file = run / SCORECARD_NAME if run.is_dir() else run
        own = read_rows(file)
        if not own:
            raise ConfigError(
                f"{run} has no scorecard.",
                f"Name a folder in which distill or export wrote {SCORECARD_NAME}.",
            )
        name = file.resolve().parent.name
        named = [row.model_copy(update={"stage": f"{name}: {row.stage}"}) for row in own]
        rows += named if len(runs) > 1 else own
    return rows


def draw_comparison(rows: Sequence[ScorecardRow]) -> Figure:
    """Draw mAP50-95 over latency, for the rows that have both, and mAP50 beside mAP50-95 for all."""
    figure = new_figure((10, 0.35 * len(rows) + 3.2))
    bars, cloud = figure.subplots(1, 2)
    places = np.arange(len(rows))
    for offset, key, label in ((-0.2, "map50", "mAP50"), (0.2, "map50_95", "mAP50-95")):
        values = [getattr(row, key) or 0.0 for row in rows]
        bars.barh(places + offset, values, height=0.38, label=label)
    bars.set_yticks(places, [plain(row.stage) for row in rows])
    bars.invert_yaxis()
    bars.set_xlim(0, 1)
    bars.legend(loc="lower right")
    for row in rows:
        if row.latency is not None and row.map50_95 is not None:
            cloud.plot(row.latency.p50_ms, row.map50_95, "o")
            at = (row.latency.p50_ms, row.map50_95)
            cloud.annotate(plain(row.stage), at, xytext=(5, 3), textcoords="offset points", fontsize=8)
    cloud.set(xlabel="p50 latency of one tile, ms", ylabel="mAP50-95")
    cloud.grid(alpha=0.3)
    return figure
