"""Compare what a model finds on its golden images with what it must find, before cloth depends on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.backends.protocol import Backend
from edge.bundle.opening import Bundle
from edge.core.contract import ModelContract
from edge.core.detections import DetectionRecord
from edge.core.errors import ImageError, ModelError
from edge.core.geometry import Boxes, iou_matrix
from edge.core.image_file import read_image
from edge.inference.inspector import Inspector

SCORE_TOLERANCE = 0.05
"""Runtimes differ in the order of their sums; FP16 stays within 0.01 on these networks."""

LEAST_IOU = 0.9


def check_golden(bundle: Bundle, backend: Backend, contract: ModelContract) -> None:
    """Compare what the model finds on its golden images with what it must find.

    Raises:
        ModelError: if an image gives other detections.
    """
    if bundle.manifest is None:
        return
    inspector = Inspector(backend, contract)
    for golden in bundle.manifest.golden:
        try:
            image = read_image(bundle.path / golden.file)
        except ImageError as error:
            raise ModelError(error.problem, "Copy the whole bundle again.") from error
        found = inspector.inspect(image).records(contract.class_names)
        difference = difference_of(golden.detections, found, contract)
        if difference:
            raise ModelError(
                f"{bundle.path} does not give on {golden.file} what it gave when published: {difference}.",
                "This runtime computes something else: run edge-doctor, or use another backend.",
            )


def difference_of(
    expected: Sequence[DetectionRecord],
    found: Sequence[DetectionRecord],
    contract: ModelContract,
) -> str | None:
    """Say how two lists of detections differ, or None if they agree.

    Detections close to their threshold may be in one list and not in the other.
    """
    for ours, theirs, verb in ((expected, found, "is missing"), (found, expected, "is new")):
        for record in ours:
            margin = record["score"] - contract.score_thresholds[record["label"]]
            if margin > SCORE_TOLERANCE and not _has_match(record, theirs):
                return f"{record['label']} {record['score']:.2f} at {record['box_xyxy_px']} {verb}"
    return None


def _has_match(record: DetectionRecord, others: Sequence[DetectionRecord]) -> bool:
    near = [
        other
        for other in others
        if other["label"] == record["label"] and abs(other["score"] - record["score"]) <= SCORE_TOLERANCE
    ]
    return bool(near) and bool((iou_matrix(_boxes([record]), _boxes(near)) >= LEAST_IOU).any())


def _boxes(records: list[DetectionRecord]) -> Boxes:
    return np.array([record["box_xyxy_px"] for record in records], np.float32).reshape(-1, 4)
