"""Quantise to explicit Q/DQ nodes that ONNX Runtime, OpenVINO and TensorRT from 10.3 on read alike.

Symmetric, per channel in the weights, no bias in INT8, and only the inputs of convolutions: what a
convolution gives goes through its activation first, which runtimes fuse.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import (
    CalibrationDataReader,
    CalibrationMethod,
    TensorsData,
    create_calibrator,
)
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from edge.backends.provider_start import CPU
from edge.core.errors import ModelError
from export.graph import convolutions
from export.onnx import rechecked, write_onnx

logger = logging.getLogger(__name__)

Floats = NDArray[np.float32]
Method = Literal["minmax", "percentile", "entropy"]
METHODS: tuple[Method, ...] = get_args(Method)

QUANTISED = ["Conv"]
AT_ONCE = 16
"""Tiles whose activations are held at once."""

HISTOGRAM_BINS = 512
"""Of entropy: ONNX Runtime searches in Python, and 2048 bins take sixteen times as long."""

PERCENTILE = 99.999


def calibrated(model: onnx.ModelProto, tiles_nchw: Floats, method: Method) -> TensorsData:
    """Find the range of every activation that may be quantised.

    Args:
        model: float32, of `onnx_model`.
        tiles_nchw: (N, channels, H, W) float32, as the network sees them.
        method: minmax takes the extremes, percentile cuts off the outermost values, entropy takes the range
            whose 8-bit histogram tells most of the whole (Migacz, GTC 2017).
    """
    port = model.graph.input[0].name
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "model.onnx"
        write_onnx(model, path)
        calibrator = create_calibrator(
            path,
            QUANTISED,
            str(Path(folder) / "augmented.onnx"),
            _ORT_METHODS[method],
            providers=[CPU],
            extra_options=_METHOD_OPTIONS[method] | {"symmetric": True},
        )
        for start in range(0, len(tiles_nchw), AT_ONCE):
            calibrator.collect_data(_Reader(port, tiles_nchw[start : start + AT_ONCE]))
        return calibrator.compute_data()


def quantised(
    model: onnx.ModelProto, ranges: TensorsData, left_out: Collection[str] = (), only: Sequence[str] = ()
) -> onnx.ModelProto:
    """Put Q/DQ nodes around convolutions.

    Args:
        model: float32, of `onnx_model`; it is left as it is.
        ranges: of `calibrated` on this model.
        left_out: names of convolutions to leave as they are, besides those that answer.
        only: names of the only convolutions to quantise; empty for all.
    Raises:
        ModelError: if a range is not finite, or the result is not valid ONNX.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    wanted = [name for name in (only or convolutions(model)) if name not in left_out]
    if not wanted:
        return copy
    _check_ranges(ranges)
    options = {
        "ActivationSymmetric": True,
        "WeightSymmetric": True,
        "AddQDQPairToWeight": True,
        "QuantizeBias": False,
        "OpTypesToExcludeOutputQuantization": QUANTISED,
    }
    with _quiet():
        quantizer = QDQQuantizer(
            copy, True, False, QuantType.QInt8, QuantType.QInt8, ranges, wanted, [], QUANTISED, options
        )
        quantizer.quantize_model()
    return rechecked(quantizer.model.model, like=model)


def absolute_ranges(ranges: TensorsData) -> dict[str, float]:
    """Return the greatest absolute value of each tensor."""
    return {name: float(np.abs(np.asarray(value.range_value)).max()) for name, value in ranges.items()}


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, port: str, tiles_nchw: Floats) -> None:
        self._inputs: Iterator[dict[str, Floats]] = iter([{port: np.ascontiguousarray(tiles_nchw)}])

    def get_next(self) -> dict[str, Floats] | None:
        return next(self._inputs, None)


_ORT_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}
_METHOD_OPTIONS: dict[Method, dict[str, Any]] = {
    "minmax": {},
    "percentile": {"percentile": PERCENTILE},
    "entropy": {"num_bins": HISTOGRAM_BINS},
}


def _check_ranges(ranges: TensorsData) -> None:
    for name, value in absolute_ranges(ranges).items():
        if not np.isfinite(value):
            raise ModelError(
                f"The activation {name} is not finite on the calibration images.",
                "Train again: the checkpoint gives no numbers.",
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep ONNX Runtime's prints and advice off the terminal."""
    root = logging.getLogger()
    level, said = root.level, StringIO()
    root.setLevel(max(level, logging.ERROR))
    try:
        with redirect_stdout(said):
            yield
    finally:
        root.setLevel(level)
        logger.debug("ONNX Runtime said: %s", said.getvalue())
