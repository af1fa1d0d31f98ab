"""Report anchors: the table, the file and the plot of `loomsight anchors`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill.core.figures import new_figure, write_figure
from distill.detector.anchors import AnchorFit, knee
from edge.core.files import write_whole
from edge.core.palette import SOFT_INK
from edge.process.whole_table import WholeTable

DECIMALS = 1
"""Of an anchor's sides, in pixels."""


def elbow_table(fits: Sequence[AnchorFit], standard: AnchorFit) -> WholeTable:
    """Lay out how well 1, 2, ... anchors fit, and YOLOv5's own beside them."""
    bend = knee([fit.mean_iou for fit in fits])
    table = WholeTable("anchors", "mean IoU", "gain", "best possible recall", "")
    before = 0.0
    for position, fit in enumerate(fits):
        remark = "elbow" if position == bend and len(fits) > 2 else ""
        table.add_row(*_cells(str(len(fit.anchors_px)), fit, f"{fit.mean_iou - before:+.3f}"), remark)
        before = fit.mean_iou
    table.add_row(*_cells(f"{len(standard.anchors_px)} of YOLOv5", standard, ""), "")
    return table


def write_anchors(file: Path, chosen: AnchorFit, fits: Sequence[AnchorFit], about: dict[str, Any]) -> None:
    """Write the chosen anchors, as `anchors` of a recipe reads them, and what they were chosen from.

    Args:
        about: more keys, JSON values.
    Raises:
        OutputError: if it cannot be written.
    """
    content = {
        "anchors": rounded(chosen.anchors_px),
        "mean_iou": round(chosen.mean_iou, 4),
        "best_possible_recall": round(chosen.best_possible_recall, 4),
        **about,
        "elbow": [
            {
                "anchors": len(fit.anchors_px),
                "mean_iou": round(fit.mean_iou, 4),
                "best_possible_recall": round(fit.best_possible_recall, 4),
            }
            for fit in fits
        ],
    }
    write_whole(file, json.dumps(content, indent=1).encode() + b"\n")


def draw_elbow(fits: Sequence[AnchorFit], chosen: AnchorFit, file: Path) -> None:
    """Draw mean overlap and best possible recall over the number of anchors into a PNG.

    Raises:
        OutputError: if it cannot be written.
    """
    figure = new_figure((6, 3.8))
    axes: Any = figure.subplots()
    counts = [len(fit.anchors_px) for fit in fits]
    axes.plot(counts, [fit.mean_iou for fit in fits], marker="o", label="mean IoU")
    recalls = [fit.best_possible_recall for fit in fits]
    axes.plot(counts, recalls, marker="s", label="best possible recall at ratio 4")
    axes.axvline(len(chosen.anchors_px), color=SOFT_INK.hex, linewidth=1)
    axes.set(xlabel="anchors", ylim=(0, 1.02), xticks=counts)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    write_figure(figure, file)


def rounded(anchors_px: Sequence[tuple[float, float]]) -> list[list[float]]:
    """Round anchors for people; no side becomes 0."""
    least = 10**-DECIMALS
    return [[max(least, round(side, DECIMALS)) for side in sides] for sides in anchors_px]


def _cells(name: str, fit: AnchorFit, gain: str) -> tuple[str, str, str, str]:
    return name, f"{fit.mean_iou:.3f}", gain, f"{100 * fit.best_possible_recall:.1f} %"
