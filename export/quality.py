"""Measure each model of a bundle on each installed runtime: distance from its checkpoint, and quality."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from distill.checkpoint import Latency, measure_latency
from edge.backends.choose import usable_backends
from edge.backends.description import BackendOptions, Precision
from edge.backends.registry import BACKENDS, BackendName
from edge.core.contract import ModelContract
from edge.core.detections import Detections
from edge.core.errors import ParityError
from edge.core.geometry import View, iou_matrix
from edge.inference.decode import Decoder
from export.parity import in_batches
from export.yardstick import Yardstick

logger = logging.getLogger(__name__)

MATCH_IOU = 0.5
ON_STRIPS = " on the strips"

Floats = NDArray[np.float32]


class QualityRow(BaseModel):
    """Say what one model of a bundle gives on one runtime.

    Attributes:
        boxes_max_px, scores_max: greatest difference to the checkpoint where it reports something, or the
            model does: 0 if neither does.
        detections: of the checkpoint at its thresholds, on the sample tiles.
        matched: fraction of them, and of the model's own, that the other has too; 1 if there is none.
        map50, map50_95: on the validation split; None without one.
        drop: mAP50-95 lost against the checkpoint; None without a validation split, or where the checkpoint
            finds next to nothing on it.
        strips_map50_95, strips_drop: the same on real strips, where some were given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: Precision
    runtime: str
    boxes_max_px: float
    scores_max: float
    detections: int
    matched: float
    map50: float | None = None
    map50_95: float | None = None
    drop: float | None = None
    strips_map50_95: float | None = None
    strips_drop: float | None = None
    latency: Latency


@dataclass(frozen=True, slots=True)
class Reference:
    """Hold the outputs of the checkpoint.

    Attributes:
        answers: boxes and scores on the sample tiles.
        split: the validation split; None without a data set.
        strips: real strips; None where none were given.
    """

    tiles_nchw: Floats
    answers: tuple[Floats, Floats]
    split: Yardstick | None = None
    strips: Yardstick | None = None


def quality_table(
    models: Iterable[tuple[Precision, Path]], contract: ModelContract, reference: Reference
) -> tuple[QualityRow, ...]:
    """Measure each model on each runtime that is installed and can compute it."""
    return tuple(
        _measured(path, precision, name, contract, reference)
        for precision, path in models
        for name in usable_backends(BackendOptions(precision=precision))
    )


def check_drop(rows: Sequence[QualityRow], max_drop: float) -> None:
    """See that nothing that is to be published loses more than is permitted, on any runtime.

    Args:
        max_drop: of mAP50-95, 0..1.
    Raises:
        ParityError: if one does.
    """
    lost = [(row, drop, on) for row in rows for drop, on in ((row.drop, ""), (row.strips_drop, ON_STRIPS))]
    for row, drop, on in lost:
        if drop is not None and not drop <= max_drop:
            raise ParityError(
                f"{row.precision} on {row.runtime} loses {100 * drop:.2f} points of mAP50-95{on}; "
                f"permitted are {100 * max_drop:g}.",
                "Nothing was published. Permit more with --max-drop, or leave that precision out.",
            )


def doubts(reference: Reference, rows: Sequence[QualityRow]) -> list[str]:
    """Say where the measured quality says nothing about what was exported.

    Args:
        rows: of the bundle.
    """
    lines = [
        f"The checkpoint finds next to nothing on {where} (mAP50-95 {one.map50_95:.3f}): "
        "what a variant loses cannot be told. Train it longer before it is used."
        for one, where in ((reference.split, "the validation split"), (reference.strips, "the strips"))
        if one is not None and one.drop(one.map50_95) is None
    ]
    if rows and not any(row.detections for row in rows):
        lines.append(
            "The checkpoint detects nothing on the sample images at its thresholds: that the models match "
            "says nothing about detections. Give --images that show defects, or look at its thresholds."
        )
    return lines


def _measured(
    path: Path, precision: Precision, name: BackendName, contract: ModelContract, reference: Reference
) -> QualityRow:
    with BACKENDS[name].opened(path, contract, BackendOptions(precision=precision)) as backend:
        description = backend.description
        runtime = f"{description.runtime}, {description.device}"
        logger.info("%s on %s is measured", precision, runtime)
        got = in_batches(backend.infer, reference.tiles_nchw)
        split, strips = (
            one.validation.metrics(backend.infer) if one is not None else None
            for one in (reference.split, reference.strips)
        )
        latency = measure_latency(
            backend.infer,
            reference.tiles_nchw,
            runtime=description.runtime,
            device=description.device,
            precision=description.precision,
        )
    boxes_px, scores, detections, matched = compared(reference.answers, got, contract)
    row = QualityRow(
        precision=precision, runtime=runtime, boxes_max_px=boxes_px, scores_max=scores,
        detections=detections, matched=matched, latency=latency,
    )  # fmt: skip
    quality: dict[str, float | None] = {}
    if split is not None and reference.split is not None:
        quality["map50"], quality["map50_95"] = round(split.map50, 4), round(split.map50_95, 4)
        quality["drop"] = reference.split.drop(split.map50_95)
    if strips is not None and reference.strips is not None:
        quality["strips_map50_95"] = round(strips.map50_95, 4)
        quality["strips_drop"] = reference.strips.drop(strips.map50_95)
    return row.model_copy(update=quality)


def compared(
    expected: tuple[Floats, Floats], got: tuple[Floats, Floats], contract: ModelContract
) -> tuple[float, float, int, float]:
    """Compare two answers where one of them reports something.

    Returns:
        Greatest difference of boxes in pixels and of scores there, number of detections expected, and the
        fraction of the detections of both that the other one has too.
    """
    floors = np.array([contract.score_thresholds[name] for name in contract.class_names], np.float32)
    reported = ((expected[1] >= floors) | (got[1] >= floors)).any(-1)
    boxes = float(np.abs(expected[0] - got[0])[reported].max(initial=0.0))
    scores = float(np.abs(expected[1] - got[1])[reported].max(initial=0.0))
    height, width = contract.input_size_hw_px
    decoder, views = Decoder(contract), [View(0, 0, width, height)] * len(expected[0])
    pairs = list(zip(decoder.decode(*expected, views), decoder.decode(*got, views), strict=True))
    total = sum(len(ours) + len(theirs) for ours, theirs in pairs)
    met = sum(_met(ours, theirs) + _met(theirs, ours) for ours, theirs in pairs)
    return boxes, scores, sum(len(ours) for ours, _ in pairs), met / total if total else 1.0


def _met(ours: Detections, theirs: Detections) -> int:
    """Count those of `ours` that one of the same class in `theirs` covers."""
    if not len(ours) or not len(theirs):
        return 0
    overlap = iou_matrix(ours.boxes_xyxy_px, theirs.boxes_xyxy_px)
    return int(((overlap >= MATCH_IOU) & (ours.class_ids[:, None] == theirs.class_ids[None])).any(1).sum())
