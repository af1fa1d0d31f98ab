"""Measure the effect of each convolution alone in INT8 on the network's answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import TensorsData

from edge.backends.onnx_session import session_options
from edge.backends.provider_start import CPU
from edge.backends.raw_outputs import answer_of
from edge.core.contract import AnyOutputs
from export.graph import convolutions
from export.quantize import quantised

TILES = 8
"""Images that the answers are compared on; the order of the worst layers is the same with more."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LayerError:
    """Say how far the answer moves if one convolution is in INT8 and all else in float32.

    Attributes:
        layer: name of the node.
        error: see `answer_error`.
    """

    layer: str
    error: float


def sensitivity(
    model: onnx.ModelProto,
    ranges: TensorsData,
    tiles_nchw: Floats,
    outputs: AnyOutputs,
) -> list[LayerError]:
    """Quantise each convolution alone and compare the answers; the worst first.

    Args:
        model: float32, of `onnx_model`.
        ranges: of its activations.
        tiles_nchw: (N, channels, H, W) float32.
    """
    tiles = np.ascontiguousarray(tiles_nchw[:TILES])
    whole = answering(model, outputs)(tiles)
    rows = []
    for layer in convolutions(model):
        one = quantised(model, ranges, only=[layer])
        rows.append(LayerError(layer, answer_error(whole, answering(one, outputs)(tiles))))
    return sorted(rows, key=lambda row: -row.error)


def answering(model: onnx.ModelProto, outputs: AnyOutputs) -> Callable[[Floats], tuple[Floats, Floats]]:
    """Return a function that runs a model on ONNX Runtime, on the processor.

    That does what the graph says to the letter, which runtimes that fuse and reorder do not promise.
    """
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), session_options(None), providers=[CPU]
    )

    def run(images_nchw: Floats) -> tuple[Floats, Floats]:
        given = session.run(list(outputs.output_ports), {outputs.images_port: images_nchw})
        return answer_of(given, outputs)

    return run


def answer_error(expected: tuple[Floats, Floats], got: tuple[Floats, Floats]) -> float:
    """Return how far scores moved, and boxes in fractions of their size, where something may be found.

    Both are weighted by the greater of the two scores: what happens where nobody looks does not count.

    Args:
        expected, got: boxes (B, A, 4) in input pixels and scores (B, A, classes).
    Returns:
        0 for equal answers; about the fraction of a typical score that is wrong.
    """
    weight = np.maximum(expected[1], got[1]).max(-1)
    total = float(weight.sum())
    if not total:
        return 0.0
    sides = np.abs(expected[0][..., 2:] - expected[0][..., :2]).mean(-1)
    boxes = np.abs(expected[0] - got[0]).mean(-1) / np.maximum(sides, 1.0)
    scores = np.abs(expected[1] - got[1]).max(-1)
    return float((scores.sum() + (weight * boxes).sum()) / total)
