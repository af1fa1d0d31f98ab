"""Test a model on this device before the first metre depends on it: golden images, time of a tile."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from edge.backends.protocol import Backend
from edge.bundle.opening import Bundle
from edge.core.contract import ModelContract
from edge.core.detections import DetectionRecord
from edge.core.errors import BackendError, ImageError, ModelError
from edge.core.geometry import Boxes, iou_matrix
from edge.core.image_file import read_image
from edge.core.latency import LatencyHistogram, LatencyQuantiles
from edge.inference.inspector import Inspector

SCORE_TOLERANCE = 0.05
"""Runtimes differ in the order of their sums; FP16 stays within 0.01 on these networks."""

LEAST_IOU = 0.9

MOST_RUNS = 100
LIMIT_S = 10.0
"""A slow device gets fewer runs."""


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


def check_latency(backend: Backend, contract: ModelContract, max_p99_ms: float | None) -> LatencyQuantiles:
    """Time the network on single inputs of noise; nothing is trimmed but the warm-up.

    Args:
        max_p99_ms: None for no limit.
    Raises:
        BackendError: if p99 is above the limit.
    """
    size = (1, contract.channels, *contract.input_size_hw_px)
    noise = np.random.default_rng(0).random(size, np.float32)
    backend.warm_up(1)
    times, end_s = LatencyHistogram(), time.monotonic() + LIMIT_S
    while len(times) < MOST_RUNS and (time.monotonic() < end_s or not len(times)):
        start_ns = time.perf_counter_ns()
        backend.infer(noise)
        times.add((time.perf_counter_ns() - start_ns) / 1e6)
    quantiles = times.quantiles()
    if max_p99_ms is not None and quantiles["p99"] > max_p99_ms:
        raise BackendError(
            f"A tile takes p99 {quantiles['p99']:.1f} ms on this device; permitted are {max_p99_ms:g} ms.",
            "Export a smaller or an INT8 model, try --backend auto, or permit more.",
        )
    return quantiles
