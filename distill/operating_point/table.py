"""Print a verdict: before against after, on the same images, and in words."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Console

from distill.operating_point.reports import ThresholdCounts
from distill.operating_point.verdict import Verdict, remarks
from edge.core.counted import counted, of_all
from edge.process.whole_table import WholeTable


def print_verdict(verdict: Verdict, mm_per_px: float | None, console: Console) -> None:
    """Print the table, and what it cannot tell."""
    table = WholeTable(box=SIMPLE, pad_edge=False)
    table.add_column("at the thresholds that ship", no_wrap=True)
    for heading in ("found", *verdict.after.found, "false positives", "on clean images"):
        table.add_column(heading, justify="right")
    if verdict.before is not None:
        table.add_row("before", *_cells(verdict.before, list(verdict.after.found)))
    table.add_row("after", *_cells(verdict.after, list(verdict.after.found)))
    console.print(table)
    for remark in remarks(verdict, mm_per_px):
        console.print(f"warning: {remark}", highlight=False, markup=False, soft_wrap=True)


def in_words(verdict: Verdict) -> str:
    """Say in one line what the training was worth, before -> after on the same images."""
    before, after = verdict.before, verdict.after
    how = "" if verdict.is_cross_validated else "; the thresholds were chosen on these very images"
    images = counted(after.images, "image")
    if before is None:
        found = of_all(after.true_positives, after.defects, "defect")
        return f"finds {found} with {counted(after.false_positives, 'false positive')} on {images}{how}"
    found = f"{before.true_positives} -> {of_all(after.true_positives, after.defects, 'defect')} found"
    alarms = f"{before.false_positives} -> {counted(after.false_positives, 'false positive')}"
    verdict_words = "better" if verdict.is_better else "NOT better"
    kept = (
        "; best.pt is the detector from before, tuned.pt the trained one"
        if verdict.is_cross_validated and not verdict.is_better
        else ""
    )
    return f"{found}, {alarms} on the same {images}: {verdict_words} than where it started{how}{kept}"


def _cells(counts: ThresholdCounts, names: list[str]) -> list[str]:
    of_class = (counts.found.get(name, (0, 0)) for name in names)
    return [
        f"{counts.true_positives} of {counts.defects}",
        *(f"{found} of {total}" for total, found in of_class),
        f"{counts.false_positives} on {counts.images}",
        f"{counts.false_positives_on_clean} on {counts.clean_images}",
    ]
