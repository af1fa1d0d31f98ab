"""Draw the worst mistakes on one image: missed defects, and the most confident false positives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.detections import Detections
from edge.core.geometry import iou_matrix
from edge.core.image import Image
from edge.core.labelled_boxes import draw_text
from edge.core.palette import GROUND_TRUTH, INK, PREDICTION, WHITE

CELL_PX = 192
COLUMNS = 6
CONTEXT_PX = 32
"""Of cloth around the box; small boxes are shown larger."""

TOUCHING_IOU = 0.1


@dataclass(frozen=True, slots=True)
class Mistake:
    """Name one mistake.

    Attributes:
        tile: its number in the plan.
        box_xyxy_px: of the defect that was missed, or of the false alarm, pixels of the tile.
        title: what is written under it.
        badness: the worst comes first.
    """

    tile: int
    box_xyxy_px: tuple[float, float, float, float]
    title: str
    badness: float


def missed_defects(
    compared: Sequence[tuple[Detections, Detections]],
    names: Sequence[str],
    thresholds: Mapping[str, float],
) -> list[Mistake]:
    """Return the defects that are not reported, those of which least was found first.

    What was found of a defect is the best score of its class that touches it.

    Args:
        compared: per tile, what was found, at whatever score, and the ground truth.
    """
    mistakes = []
    for tile, (found, ground_truth) in enumerate(compared):
        scores = _touching(ground_truth, found) * found.scores[None]
        for row, box in enumerate(ground_truth.boxes_xyxy_px):
            best, name = float(scores[row].max(initial=0.0)), names[ground_truth.class_ids[row]]
            if best < thresholds[name]:
                mistakes.append(Mistake(tile, _box(box), f"{name} {best:.2f}", 1 - best))
    return sorted(mistakes, key=lambda mistake: -mistake.badness)


def false_alarms(compared: Sequence[tuple[Detections, Detections]], names: Sequence[str]) -> list[Mistake]:
    """Return reports that touch no defect of their class, by falling score."""
    mistakes = []
    for tile, (found, ground_truth) in enumerate(compared):
        lonely = ~_touching(ground_truth, found).any(axis=0)
        for row in np.flatnonzero(lonely):
            score = float(found.scores[row])
            title = f"{names[found.class_ids[row]]} {score:.2f}"
            mistakes.append(Mistake(tile, _box(found.boxes_xyxy_px[row]), title, score))
    return sorted(mistakes, key=lambda mistake: -mistake.badness)


def draw_mistake(tile: Image, mistake: Mistake, ground_truth: Detections, found: Detections) -> Image:
    """Draw the surroundings of a mistake with the ground truth and the reports in their colours.

    Returns:
        (CELL_PX, CELL_PX, 3) BGR.
    """
    x1, y1, x2, y2 = mistake.box_xyxy_px
    side = max(x2 - x1, y2 - y1) + 2 * CONTEXT_PX
    scale, corner = CELL_PX / side, np.array([(x1 + x2 - side) / 2, (y1 + y2 - side) / 2])
    move = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    colour = cv2.cvtColor(tile, cv2.COLOR_GRAY2BGR) if tile.ndim == 2 else tile
    cell = cv2.warpAffine(colour, move, (CELL_PX, CELL_PX), borderMode=cv2.BORDER_REFLECT_101)
    for detections, ink in ((ground_truth, GROUND_TRUTH.bgr), (found, PREDICTION.bgr)):
        for box in detections.boxes_xyxy_px:
            low, high = (box[:2] - corner) * scale, (box[2:] - corner) * scale
            cv2.rectangle(cell, _point(low), _point(high), ink, 1)
    cv2.rectangle(cell, (0, CELL_PX - 18), (CELL_PX, CELL_PX), INK.bgr, -1)
    captioned: Image = np.asarray(cell, np.uint8)
    draw_text(captioned, mistake.title, (4, CELL_PX - 17), WHITE, text_px=13)
    return captioned


def sheet_of(cells: Sequence[Image]) -> Image:
    """Lay cells out row by row; empty places stay black."""
    rows = max(1, -(-len(cells) // COLUMNS))
    sheet = np.zeros((rows * CELL_PX, COLUMNS * CELL_PX, 3), np.uint8)
    for index, cell in enumerate(cells):
        top, left = index // COLUMNS * CELL_PX, index % COLUMNS * CELL_PX
        sheet[top : top + CELL_PX, left : left + CELL_PX] = cell
    return sheet


def _touching(ground_truth: Detections, found: Detections) -> NDArray[np.bool_]:
    overlap = iou_matrix(ground_truth.boxes_xyxy_px, found.boxes_xyxy_px)
    same_class = ground_truth.class_ids[:, None] == found.class_ids[None]
    return np.asarray((overlap >= TOUCHING_IOU) & same_class)


def _box(row: NDArray[np.float32]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = row.tolist()
    return x1, y1, x2, y2


def _point(xy: NDArray[np.float64]) -> tuple[int, int]:
    return round(float(xy[0])), round(float(xy[1]))
