"""Scorecard rows side by side."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from distill.scorecard import ScorecardRow
from distill.stage_plan import DISTILLED, STUDENT_ALONE


def print_comparison(rows: Sequence[ScorecardRow], console: Console) -> None:
    """Print what models cost and how good they are, and what distillation bought."""
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("stage", no_wrap=True)
    for heading in ("weights", "GMACs", "mAP50", "mAP50-95", "recall", "false alarms per m2", "p50 ms"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.stage,
            f"{row.parameters / 1e6:.2f} M",
            f"{row.macs / 1e9:.2f}",
            *(_shown(value, 3) for value in (row.map50, row.map50_95, row.recall)),
            _shown(row.false_alarms_per_clean_m2, 2),
            _shown(row.latency.p50_ms if row.latency else None, 1),
        )
    console.print(table)
    by_stage = {row.stage: row for row in rows}
    if STUDENT_ALONE in by_stage and DISTILLED in by_stage:
        console.print(_gain(by_stage[STUDENT_ALONE], by_stage[DISTILLED]), highlight=False)


def _gain(alone: ScorecardRow, distilled: ScorecardRow) -> str:
    changes = [
        f"{name} {theirs - ours:+.3f}"
        for name, ours, theirs in (
            ("mAP50", alone.map50, distilled.map50),
            ("mAP50-95", alone.map50_95, distilled.map50_95),
            ("recall", alone.recall, distilled.recall),
        )
        if ours is not None and theirs is not None
    ]
    return f"distillation bought  {'  '.join(changes)}"


def _shown(value: float | None, digits: int) -> str:
    return "—" if value is None else f"{value:.{digits}f}"
