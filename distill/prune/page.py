"""Write the page of a pruning: what became of it, the candidates of each step, and what is found."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from pydantic import TypeAdapter

from distill.core import run_page
from distill.evaluation.scorecard import ScorecardRow
from distill.prune.candidates import ScoredPlan
from distill.prune.folder import PruneFolder
from distill.prune.outcome import is_as_good, outcome
from distill.prune.pareto import draw_candidates, draw_stages
from distill.prune.settings import PruneSettings
from distill.prune.stage_times import StageTimes
from distill.training.curves import curves_section
from edge.core.counted import counted
from edge.process.other_load import BUSY_CORES, busy_words

CANDIDATES = TypeAdapter(tuple[ScoredPlan, ...])


def write_prune_page(
    folder: PruneFolder,
    rows: Sequence[ScorecardRow],
    times: StageTimes,
    settings: PruneSettings,
    report: Sequence[str],
    digest: str,
) -> None:
    """Write the page of a pruning that is done.

    Args:
        report: sections that show what the pruned detector reports.
        digest: of the pruned detector.
    Raises:
        OutputError: if it cannot be written.
    """
    parts = [
        run_page.result(outcome(rows, digest), is_as_good(rows, digest)),
        _stages(rows, times),
        *_candidates(folder),
        *report,
        *_recoveries(folder),
        run_page.section(
            "What was asked for",
            run_page.table(
                ("setting", "value"),
                [(key, str(value)) for key, value in settings.model_dump(exclude_none=True).items()],
            ),
        ),
    ]
    run_page.write_page(folder.page, f"pruned: {folder.path.name}", parts)


def _stages(rows: Sequence[ScorecardRow], times: StageTimes) -> str:
    table = [
        [
            row.stage,
            f"{row.parameters / 1e6:.2f}",
            f"{row.macs / 1e9:.3f}",
            *(_digits(value) for value in (row.map50, row.map50_95, row.recall)),
            f"{times.ms[row.stage]:.2f}" if row.stage in times.ms else "—",
            f"{times.times_faster[row.stage]:.2f}" if row.stage in times.times_faster else "—",
        ]
        for row in rows
    ]
    headings = ("stage", "weights, million", "GMACs", "mAP50", "mAP50-95", "recall", "ms", "times as fast")
    how = (
        f"ms of one input on {times.runtime} {times.version}, {counted(times.threads, 'thread')}, "
        f"{times.processor}; all were run in turn"
    )
    load = times.other_load_cores or 0
    busy = [run_page.text(f"Warning: {busy_words(load)}")] if load > BUSY_CORES else []
    diagrams = (
        run_page.diagram(figure, f"mAP50-95 over {label}") for label, figure in draw_stages(rows, times)
    )
    return run_page.section(
        "Before and after", run_page.table(headings, table, how), *busy, run_page.side_by_side(diagrams)
    )


def _candidates(folder: PruneFolder) -> list[str]:
    """Return a section for each step whose plans were compared."""
    sections: list[str] = []
    for step in count(1):
        if not folder.candidates(step).is_file():
            return sections
        candidates = CANDIDATES.validate_json(folder.candidates(step).read_bytes())
        taken = max(
            range(len(candidates)),
            key=lambda number: (candidates[number].map50 + candidates[number].map50_95, -number),
        )
        sections.append(_section_of(step, candidates, taken))
    return sections


def _section_of(step: int, candidates: Sequence[ScoredPlan], taken: int) -> str:
    rows = [
        [
            str(number + 1),
            one.planner,
            one.options.importance,
            one.options.scope,
            str(one.options.round_to),
            f"{one.macs_share:.3f}",
            f"{one.map50:.3f}",
            f"{one.map50_95:.3f}",
            "taken" if number == taken else "",
        ]
        for number, one in enumerate(candidates)
    ]
    headings = (
        "no.",
        "planner",
        "importance",
        "scope",
        "channels by",
        "MACs ratio",
        "mAP50",
        "mAP50-95",
        "",
    )
    return run_page.section(
        f"Candidates of step {step}",
        run_page.text("What each plan was worth right after its cut, before it recovered."),
        run_page.side_by_side(
            [
                run_page.diagram(
                    draw_candidates(candidates, taken), "mAP50-95 of the candidates over their MACs ratio"
                ),
                run_page.table(headings, rows),
            ]
        ),
    )


def _recoveries(folder: PruneFolder) -> list[str]:
    sections: list[str] = []
    for step in count(1):
        history = folder.step(step).read_history()
        if not history:
            return sections
        sections.append(curves_section(history, f"Recovery of step {step}"))
    return sections


def _digits(value: float | None) -> str:
    return "—" if value is None else f"{value:.3f}"
