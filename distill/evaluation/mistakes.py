"""List the mistakes of a detector: defects that it missed, and false positives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from distill.evaluation.hits import points_at
from distill.evaluation.working_point import InspectedImage
from edge.core.geometry import Boxes


@dataclass(frozen=True, slots=True)
class Mistake:
    """Name one mistake.

    Attributes:
        number: position among the images inspected.
        box_xyxy_px: of the defect that was missed, or of the false positive, pixels of the image.
        caption: says it in words.
        badness: the worst comes first.
    """

    number: int
    box_xyxy_px: tuple[float, float, float, float]
    caption: str
    badness: float


def missed_defects(
    inspected: Sequence[InspectedImage], names: Sequence[str], thresholds: Mapping[str, float]
) -> list[Mistake]:
    """Return the defects that no report points at, those of which least was seen first."""
    mistakes = []
    for number, one in enumerate(inspected):
        truth = one.ground_truth
        missed = ~points_at(one.reported.boxes_xyxy_px, truth.boxes_xyxy_px).any(axis=0)
        weak = points_at(one.weak.boxes_xyxy_px, truth.boxes_xyxy_px)
        for row in np.flatnonzero(missed).tolist():
            scores = np.where(weak[:, row], one.weak.scores, 0)
            best, name = float(scores.max(initial=0.0)), names[truth.class_ids[row]]
            if best:
                seen_as = names[one.weak.class_ids[int(scores.argmax())]]
                seen = f"the best candidate is {seen_as} {best:.2f}, threshold {thresholds[seen_as]:.2f}"
            else:
                seen = "no candidate at any score"
            mistakes.append(
                Mistake(number, box_of(truth.boxes_xyxy_px, row), f"{name} missed: {seen}", -best)
            )
    return sorted(mistakes, key=lambda mistake: -mistake.badness)


def false_positives(inspected: Sequence[InspectedImage], names: Sequence[str]) -> list[Mistake]:
    """Return the reports that point at no defect, by falling score."""
    mistakes = []
    for number, one in enumerate(inspected):
        pointed = points_at(one.reported.boxes_xyxy_px, one.ground_truth.boxes_xyxy_px)
        for row in np.flatnonzero(~pointed.any(axis=1)).tolist():
            score = float(one.reported.scores[row])
            caption = f"{names[one.reported.class_ids[row]]} {score:.2f} where no defect is labelled"
            mistakes.append(Mistake(number, box_of(one.reported.boxes_xyxy_px, row), caption, score))
    return sorted(mistakes, key=lambda mistake: -mistake.badness)


def box_of(boxes_xyxy_px: Boxes, row: int) -> tuple[float, float, float, float]:
    """Return one box of several as numbers."""
    x1, y1, x2, y2 = boxes_xyxy_px[row].tolist()
    return x1, y1, x2, y2
