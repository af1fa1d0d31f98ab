"""Compare an exported model with its checkpoint, on real images, before anyone trusts it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from distill.checkpoint import Detector, infer
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.core.contract import ModelContract
from edge.core.counted import of_all
from edge.core.errors import ParityError
from edge.core.geometry import View
from edge.inference.decode import Decoder
from edge.inference.golden import difference_of

logger = logging.getLogger(__name__)

BOX_TOLERANCE_PX = 0.05
SCORE_TOLERANCE = 1e-3
"""About thirty times what float32 on two runtimes differs by (measured on a trained pico: see the tests);
a wrong opset, a missing activation or other weights differ by whole pixels and tenths."""

FLOAT16_BOX_TOLERANCE_PX = 2.0
FLOAT16_SCORE_TOLERANCE = 0.02
"""The same for weights stored as float16."""

ANSWER = ("boxes_xyxy_px", "scores")
"""What is compared, decoded wherever."""

BATCH_SIZES = (1, 3, 4)
"""One, and two others: a batch size folded into the graph shows here. Together the least of `MIN_TILES`."""

Floats = NDArray[np.float32]
Infer = Callable[[Floats], tuple[Floats, Floats]]


class ParityReport(BaseModel):
    """Say how far an exported model is from its checkpoint.

    Attributes:
        tiles: how many were compared, in batches of `batch_sizes`.
        boxes_max_px, scores_max: greatest absolute difference per port.
        detections: found by the checkpoint at its thresholds, on tiles where the exported model found the
            same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: str
    tiles: int
    batch_sizes: tuple[int, ...] = BATCH_SIZES
    boxes_max_px: float
    scores_max: float
    detections: int


def check_parity(
    detector: Detector,
    model_path: Path,
    contract: ModelContract,
    tiles_nchw: Floats,
    *,
    float16_weights: bool = False,
) -> ParityReport:
    """Run both on the same tiles and compare ports and detections.

    ONNX Runtime runs on the processor: a GPU would add its own rounding to what is being checked.

    Args:
        contract: the one inside the exported model.
        tiles_nchw: (N, channels, H, W) float32.
        float16_weights: the exported model stores its weights as float16 and may differ by more.
    Raises:
        ParityError: if they differ by more than the tolerances, or as `count_alike` says.
    """
    with OnnxRuntimeBackend(model_path, contract, providers=["CPUExecutionProvider"]) as backend:
        exported = in_batches(backend.infer, tiles_nchw)
        runtime = backend.description.runtime
    original = in_batches(lambda images: checkpoint_answer(detector, images), tiles_nchw)
    differences = [
        _greatest_difference(port, ours, theirs)
        for port, ours, theirs in zip(ANSWER, original, exported, strict=True)
    ]
    tolerances = (BOX_TOLERANCE_PX, SCORE_TOLERANCE)
    if float16_weights:
        tolerances = (FLOAT16_BOX_TOLERANCE_PX, FLOAT16_SCORE_TOLERANCE)
    for port, difference, tolerance in zip(ANSWER, differences, tolerances, strict=True):
        if not difference <= tolerance:
            raise ParityError(
                f"The exported model's '{port}' is off by {difference:.4g}; permitted is {tolerance:g}.",
                "Nothing was published; report this with the versions of torch, onnx and onnxruntime.",
            )
    found = count_alike(original, exported, contract, is_close=not float16_weights)
    return ParityReport(
        runtime=runtime,
        tiles=len(tiles_nchw),
        boxes_max_px=differences[0],
        scores_max=differences[1],
        detections=found,
    )


def in_batches(infer_batch: Infer, tiles_nchw: Floats) -> tuple[Floats, Floats]:
    """Run a network on all tiles, in batches of `BATCH_SIZES` in turn."""
    outputs, start, turn = [], 0, 0
    while start < len(tiles_nchw):
        size = BATCH_SIZES[turn % len(BATCH_SIZES)]
        outputs.append(infer_batch(np.ascontiguousarray(tiles_nchw[start : start + size])))
        start, turn = start + size, turn + 1
    return np.concatenate([boxes for boxes, _ in outputs]), np.concatenate([s for _, s in outputs])


def checkpoint_answer(detector: Detector, images_nchw: Floats) -> tuple[Floats, Floats]:
    """Run a checkpoint as it is: boxes (B, A, 4) and scores (B, A, classes)."""
    with torch.inference_mode():
        boxes, scores = infer(detector.module, torch.from_numpy(images_nchw))
    return boxes.numpy(), scores.numpy()


def _greatest_difference(port: str, ours: Floats, theirs: Floats) -> float:
    if ours.shape != theirs.shape:
        raise ParityError(
            f"The exported model's '{port}' has the shape {theirs.shape}, its checkpoint's {ours.shape}.",
            "Nothing was published; report this with the versions of torch and onnx.",
        )
    return float(np.abs(ours - theirs).max())


def count_alike(
    original: tuple[Floats, Floats],
    exported: tuple[Floats, Floats],
    contract: ModelContract,
    *,
    is_close: bool,
) -> int:
    """Count the detections of the checkpoint on tiles where the exported model finds the same.

    Args:
        is_close: the outputs agree to the last digits. Where the detections differ then, it is because
            non-maximum suppression keeps another of two boxes as strong as each other: that is said.
    Raises:
        ParityError: if they differ where the outputs do not agree so closely.
    """
    height, width = contract.input_size_hw_px
    views = [View(0, 0, width, height)] * len(original[0])
    decoder, names = Decoder(contract), contract.class_names
    pairs = zip(decoder.decode(*original, views), decoder.decode(*exported, views), strict=True)
    total, other = 0, 0
    for tile, (ours, theirs) in enumerate(pairs):
        difference = difference_of(ours.records(names), theirs.records(names), contract)
        if difference and not is_close:
            raise ParityError(
                f"The exported model and its checkpoint differ on tile {tile}: {difference}.",
                "Nothing was published; report this with the versions of torch, onnx and onnxruntime.",
            )
        total += 0 if difference else len(ours)
        other += difference is not None
    if other:
        logger.warning(
            "on %s non-maximum suppression keeps other boxes of the exported model, though its outputs "
            "agree: this detector gives boxes as strong as each other in one place. Has it learnt enough?",
            of_all(other, len(original[0]), "tile"),
        )
    return total
