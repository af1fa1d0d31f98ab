"""Convert a model to float16, for GPUs and TensorRT, whose layers have the type that the graph states."""

from __future__ import annotations

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from export.graph import answering_nodes
from export.onnx import rechecked


def in_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Compute in float16 all but the answer of the head and its decoding; the ports stay float32.

    Args:
        model: float32, of `onnx_model`; it is left as it is.
    Raises:
        ModelError: if the result is not valid ONNX.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    result = convert_float_to_float16(
        copy, keep_io_types=True, node_block_list=sorted(answering_nodes(model))
    )
    return rechecked(_without_float64(result), like=model)


def _without_float64(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop casts that the library writes once for each reader of a value, under one name."""
    nodes = list({node.output[0]: node for node in reversed(model.graph.node)}.values())[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
