"""Hold the detections of one image, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import NotRequired, TypedDict

from edge.core.appearance import Appearance

UNCLASSIFIED: Final = "unclassified"
"""Class of what does not belong into the cloth and no detector has a name for."""

Shape = Literal["spot", "warp line", "weft line", "area"]
SHAPES: Final[tuple[Shape, ...]] = ("spot", "warp line", "weft line", "area")
"""What is known of an unclassified defect: a line runs along the warp or along the weft."""

NO_SHAPE: Final = -1

T = TypeVar("T")


class DetectionRecord(TypedDict):
    """Define one detection of a JSON line. The box is in pixels of the original frame.

    `shape` is there for what no detector named; `kind`, a category of the taxonomy, where it is known.
    """

    label: str
    score: float
    box_xyxy_px: list[float]
    shape: NotRequired[Shape]
    kind: NotRequired[str]


@dataclass(frozen=True, slots=True)
class Detections:
    """Hold N detections.

    Attributes:
        boxes_xyxy_px: (N, 4) float32.
        scores: (N,) float32 in [0, 1].
        class_ids: (N,) int64, positions in the class names of the run.
        shape_ids: (N,) int64, positions in `SHAPES`, `NO_SHAPE` where a detector has named the class; None
            if that holds for all.
        appearances: N of them, what the image shows of each; None where nobody has looked.
        kinds: N of them, category of the taxonomy or None; None if nobody has looked.
    """

    boxes_xyxy_px: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    shape_ids: NDArray[np.int64] | None = None
    appearances: tuple[Appearance | None, ...] | None = None
    kinds: tuple[str | None, ...] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Detections:
        """Return the detections at these positions, or where the mask is True."""
        return Detections(
            self.boxes_xyxy_px[index],
            self.scores[index],
            self.class_ids[index],
            None if self.shape_ids is None else self.shape_ids[index],
            _taken(self.appearances, index),
            _taken(self.kinds, index),
        )

    def moved(self, right_px: float, down_px: float) -> Detections:
        """Return the detections moved by so many pixels."""
        by_px = np.array([right_px, down_px] * 2, np.float32)
        return replace(self, boxes_xyxy_px=self.boxes_xyxy_px + by_px)

    @property
    def shapes(self) -> tuple[Shape | None, ...]:
        """The shape of each; None where a detector has named the class."""
        if self.shape_ids is None:
            return (None,) * len(self)
        return tuple(None if number == NO_SHAPE else SHAPES[number] for number in self.shape_ids.tolist())

    @property
    def _kinds(self) -> tuple[str | None, ...]:
        return (None,) * len(self) if self.kinds is None else self.kinds

    def records(self, class_names: Sequence[str]) -> list[DetectionRecord]:
        """Spell the detections out, for JSON; boxes rounded to 0.1 px, scores to 0.0001."""
        records = []
        for box, score, class_id, shape, kind in zip(
            self.boxes_xyxy_px, self.scores, self.class_ids, self.shapes, self._kinds, strict=True
        ):
            record = DetectionRecord(
                label=class_names[int(class_id)],
                score=round(float(score), 4),
                box_xyxy_px=[round(float(side), 1) for side in box],
            )
            if shape is not None:
                record["shape"] = shape
            if kind is not None:
                record["kind"] = kind
            records.append(record)
        return records


def with_unclassified(class_names: Sequence[str]) -> tuple[str, ...]:
    """Return the class names of a run: those of its model, and behind them `unclassified`."""
    return (*class_names, *(() if UNCLASSIFIED in class_names else (UNCLASSIFIED,)))


def joined_shape(shapes: Sequence[Shape | None]) -> Shape | None:
    """Return the shape of what consists of pieces: a line with spots is a line, crossing lines an area.

    Args:
        shapes: of the pieces; None where a detector has named one.
    Returns:
        None if any is None, or there are none.
    """
    kinds = set(shapes)
    if None in kinds or not kinds:
        return None
    lines = kinds & {"warp line", "weft line"}
    if "area" in kinds or len(lines) == 2:
        return "area"
    return lines.pop() if lines else "spot"


def no_detections() -> Detections:
    """Return a value of length 0."""
    return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def concatenate(parts: Sequence[Detections]) -> Detections:
    """Join detections of the same frame, in order; nobody has looked yet of which kind they are."""
    if not parts:
        return no_detections()
    return Detections(
        np.concatenate([part.boxes_xyxy_px for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.class_ids for part in parts]),
        _shape_ids(parts),
    )


def _taken(
    values: tuple[T, ...] | None, index: NDArray[np.int64] | NDArray[np.bool_]
) -> tuple[T, ...] | None:
    if values is None:
        return None
    return tuple(values[place] for place in np.arange(len(values))[index].tolist())


def _shape_ids(parts: Sequence[Detections]) -> NDArray[np.int64] | None:
    if all(part.shape_ids is None for part in parts):
        return None
    return np.concatenate(
        [
            np.full(len(part), NO_SHAPE, np.int64) if part.shape_ids is None else part.shape_ids
            for part in parts
        ]
    )
