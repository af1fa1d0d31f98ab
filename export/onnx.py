"""Export a detector to a checked ONNX model that carries its contract."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxslim
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.tools.onnx_model_utils import make_dim_param_fixed

from distill.checkpoint import BATCH_AXIS, Detector, traced_onnx
from edge.core.contract import METADATA_KEY, ModelContract
from edge.core.errors import ModelError, OutputError

IR_VERSION = 8
"""The one that belongs to `OPSET` 17; ONNX Runtime 1.18 refuses models above 10."""

LEAST_HALVED = 256
"""Tensors of fewer values stay float32: biases and the constants of the decoding."""


def onnx_model(detector: Detector, contract: ModelContract) -> onnx.ModelProto:
    """Export a detector: named ports, any batch size, shapes inferred, simplified, checked.

    Args:
        detector: in eval mode, on the processor.
        contract: written into the metadata.
    Raises:
        ModelError: if the checker refuses the result.
    """
    input_shape = (contract.channels, *contract.input_size_hw_px)
    raw = onnx.load_from_string(traced_onnx(detector.module, input_shape, contract.outputs))
    with _valid("exported", "torch and onnx"):
        onnx.checker.check_model(raw, full_check=True)
        model = onnx.shape_inference.infer_shapes(onnxslim.slim(raw), strict_mode=True)
        model.ir_version = IR_VERSION
        onnx.helper.set_model_props(model, {METADATA_KEY: contract.model_dump_json()})
        onnx.checker.check_model(model, full_check=True)
    return model


def with_batch(model: onnx.ModelProto, batch: int | None) -> onnx.ModelProto:
    """Fix how many images a model takes at once.

    Args:
        model: of `onnx_model`, or made of one; it is left as it is.
        batch: None for any number, which is what `model` takes.
    Raises:
        ModelError: if the checker refuses the result.
    """
    if batch is None:
        return model
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]
    make_dim_param_fixed(fixed.graph, BATCH_AXIS, batch)
    return rechecked(onnx.shape_inference.infer_shapes(fixed, data_prop=True), like=model)


def with_float16_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store the weights in half the bytes; a runtime widens them while it loads and computes in float32.

    Args:
        model: of `onnx_model`; it is left as it is.
    Returns:
        A model with a Cast behind each weight; small tensors, where exactness is worth more, stay float32.
    Raises:
        ModelError: if a weight is beyond what float16 holds.
    """
    halved = onnx.ModelProto()
    halved.CopyFrom(model)
    casts = []
    for tensor in halved.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < LEAST_HALVED:
            continue
        if np.abs(values).max() > np.finfo(np.float16).max:
            raise ModelError(
                f"The weight {tensor.name} is too large for float16.", "Export float32 weights."
            )
        wide_name, narrow_name = tensor.name, f"{tensor.name}_float16"
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), narrow_name))
        casts.append(
            onnx.helper.make_node(
                "Cast", [narrow_name], [wide_name], name=f"{wide_name}_widened", to=onnx.TensorProto.FLOAT
            )
        )
    nodes = [*casts, *halved.graph.node]
    del halved.graph.node[:]
    halved.graph.node.extend(nodes)
    onnx.checker.check_model(halved, full_check=True)
    return halved


def rechecked(changed: onnx.ModelProto, *, like: onnx.ModelProto) -> onnx.ModelProto:
    """Put the nodes of a model that was rewritten in order, give it its contract back and check it.

    Args:
        changed: what a library made of `like`; it is changed in place.
    Raises:
        ModelError: if the checker refuses it.
    """
    ONNXModel(changed).topological_sort()
    changed.ir_version = like.ir_version
    del changed.metadata_props[:]
    changed.metadata_props.extend(like.metadata_props)
    with _valid("rewritten", "onnx and onnxruntime"):
        onnx.checker.check_model(changed, full_check=True)
    return changed


@contextmanager
def _valid(what: str, made_by: str) -> Iterator[None]:
    """Say in one line what the checker has against a model."""
    try:
        yield
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(
            f"The {what} model is not valid ONNX: {str(error).splitlines()[0]}.",
            f"Nothing was published; report this with the versions of {made_by}.",
        ) from error


def write_onnx(model: Any, path: Path) -> None:
    """Write a model and flush it to disk.

    Raises:
        OutputError: if it cannot be written.
    """
    try:
        with path.open("wb") as stream:
            stream.write(model.SerializeToString())
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise OutputError(
            f"Cannot write {path}: {error}.", "Free space or choose another place."
        ) from error
