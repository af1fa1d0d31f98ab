"""Write the report of a training, from one pass over the validation tiles."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2

from distill.core.figures import write_figure
from distill.data.tiles import TilePlan
from distill.evaluation.confusion import NOTHING, confusion_matrix, draw_confusion, working
from distill.evaluation.contact_sheet import Mistake, draw_mistake, false_alarms, missed_defects, sheet_of
from distill.evaluation.precision_recall import draw_precision_recall, precision_recall
from edge.core.contract import ModelContract
from edge.core.detections import Detections
from edge.core.files import cannot_write, write_whole
from edge.inference.preprocess import cut_view

SHOWN_MISTAKES = 24
Compared = Sequence[tuple[Detections, Detections]]


def write_report(compared: Compared, plan: TilePlan, contract: ModelContract, folder: Path) -> None:
    """Write confusion.png and .json, precision_recall.png, worst_misses.png and false_alarms.png.

    Args:
        compared: of `found_and_ground_truth`, in the order of the plan's tiles.
        folder: is made if it is missing.
    Raises:
        OutputError: if something cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    names, thresholds = contract.class_names, contract.score_thresholds
    reported = [
        (working(detections, names, thresholds), ground_truth) for detections, ground_truth in compared
    ]
    matrix = confusion_matrix(reported, len(names))
    write_figure(draw_confusion(matrix, names), folder / "confusion.png")
    counts = {"true_by_reported": matrix.tolist(), "names": [*names, NOTHING]}
    write_whole(folder / "confusion.json", (json.dumps(counts) + "\n").encode())
    curves = precision_recall(compared, names)
    write_figure(draw_precision_recall(curves, thresholds), folder / "precision_recall.png")
    sheets = {
        "worst_misses": missed_defects(compared, names, thresholds),
        "false_alarms": false_alarms(reported, names),
    }
    for name, mistakes in sheets.items():
        _write_sheet(mistakes[:SHOWN_MISTAKES], reported, plan, contract, folder / f"{name}.png")


def _write_sheet(
    mistakes: Sequence[Mistake], reported: Compared, plan: TilePlan, contract: ModelContract, file: Path
) -> None:
    """Draw the cloth as the network saw it cut, before it was enhanced."""
    cells = []
    for mistake in mistakes:
        tile = plan.tiles[mistake.tile]
        detections, ground_truth = reported[mistake.tile]
        cut = cut_view(plan.image(tile.image_index), tile.view, contract.input_size_hw_px)
        cells.append(draw_mistake(cut, mistake, ground_truth, detections))
    _, data = cv2.imencode(".png", sheet_of(cells))
    write_whole(file, data.tobytes())
