"""What was found in one picture, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict


class DetectionRecord(TypedDict):
    """One detection as it stands in a JSON line. The box is in pixels of the original frame."""

    label: str
    score: float
    box_xyxy_px: list[float]


@dataclass(frozen=True, slots=True)
class Detections:
    """Hold N detections.

    Attributes:
        boxes_xyxy_px: (N, 4) float32.
        scores: (N,) float32 in [0, 1].
        class_ids: (N,) int64, positions in the contract's class names.
    """

    boxes_xyxy_px: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Detections:
        """Return the detections at these positions, or where the mask is True."""
        return Detections(self.boxes_xyxy_px[index], self.scores[index], self.class_ids[index])

    def moved(self, right_px: float, down_px: float) -> Detections:
        """Return the detections moved by so many pixels."""
        by_px = np.array([right_px, down_px] * 2, np.float32)
        return Detections(self.boxes_xyxy_px + by_px, self.scores, self.class_ids)

    def records(self, class_names: Sequence[str]) -> list[DetectionRecord]:
        """Spell the detections out, for JSON; boxes rounded to 0.1 px, scores to 0.0001."""
        return [
            DetectionRecord(
                label=class_names[int(class_id)],
                score=round(float(score), 4),
                box_xyxy_px=[round(float(side), 1) for side in box],
            )
            for box, score, class_id in zip(self.boxes_xyxy_px, self.scores, self.class_ids, strict=True)
        ]


def no_detections() -> Detections:
    """Return a value of length 0."""
    return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def concatenate(parts: Sequence[Detections]) -> Detections:
    """Join detections of the same frame, in order."""
    if not parts:
        return no_detections()
    return Detections(
        np.concatenate([part.boxes_xyxy_px for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.class_ids for part in parts]),
    )
