"""Check what TensorRT 10.3 to 11 and TensorRT-RTX demand of a quantised graph, without any of them.

The rules are those of explicit quantisation: NVIDIA's guide "Working with Quantized Types" and the operator
pages of QuantizeLinear and DequantizeLinear. That the graph is one their parser accepts is seen when an
engine is built; what is here fails earlier and names the node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from edge.core.errors import ModelError

QUANTIZE: Final = "QuantizeLinear"
DEQUANTIZE: Final = "DequantizeLinear"

LOWEST_OPSET: Final = 13
"""Scales per channel came with it."""
HIGHEST_OPSET: Final = 20
"""The newest the ONNX parser of TensorRT 10.3 reads (its release notes)."""

WEIGHT_OPERATORS: Final = ("Conv", "Gemm", "MatMul")
QUANTISED_OPERATORS: Final = frozenset(
    {
        "ConvInteger",
        "DynamicQuantizeLinear",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
    }
)
"""Operators on integers: TensorRT makes its own out of Q and DQ, and reads none of these."""

CURE: Final = (
    "Quantise again: QDQ format, symmetric int8, weights per channel in Q/DQ pairs, the bias left alone."
)

Array = NDArray[Any]


@dataclass(frozen=True)
class _Graph:
    """A graph with its constants and links at hand."""

    nodes: tuple[onnx.NodeProto, ...]
    constants: dict[str, Array]
    producers: dict[str, onnx.NodeProto]
    consumers: dict[str, list[onnx.NodeProto]]
    outputs: frozenset[str]


def check_qdq(model: onnx.ModelProto) -> None:
    """See that every TensorRT takes a quantised model.

    Raises:
        ModelError: naming the first node that breaks a rule.
    """
    for problem in problems_of(model):
        raise ModelError(f"No TensorRT builds this INT8 model: {problem}.", CURE)


def problems_of(model: onnx.ModelProto) -> Iterator[str]:
    """Find what breaks a rule, in the order of the graph."""
    graph = _graph_of(model)
    yield from _of_the_file(model, graph)
    for node in graph.nodes:
        if node.op_type == QUANTIZE:
            yield from _of_pair(node, graph)
            yield from _of_quantize(node, graph)
        elif node.op_type == DEQUANTIZE:
            yield from _of_pair(node, graph)
            yield from _of_dequantize(node, graph)
        elif node.op_type in WEIGHT_OPERATORS:
            yield from _of_weights(node, graph)


def _graph_of(model: onnx.ModelProto) -> _Graph:
    graph = model.graph
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    producers = {name: node for node in graph.node for name in node.output}
    outputs = frozenset(one.name for one in graph.output)
    return _Graph(tuple(graph.node), constants, producers, consumers, outputs)


def _of_the_file(model: onnx.ModelProto, graph: _Graph) -> Iterator[str]:
    opset = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0)
    if not LOWEST_OPSET <= opset <= HIGHEST_OPSET:
        yield f"its opset is {opset}, not one of {LOWEST_OPSET} to {HIGHEST_OPSET}"
    for port in [*model.graph.input, *model.graph.output]:
        if port.type.tensor_type.elem_type != TensorProto.FLOAT:
            yield f"its port '{port.name}' is not float32"
    if not any(node.op_type == QUANTIZE for node in graph.nodes):
        yield "it has no Q node: nothing in it is quantised"
    for node in graph.nodes:
        if node.domain not in ("", "ai.onnx"):
            yield f"{_name(node)} is of the domain {node.domain}"
        if node.op_type in QUANTISED_OPERATORS:
            yield f"{_name(node)} computes on integers"


def _of_pair(node: onnx.NodeProto, graph: _Graph) -> Iterator[str]:
    """Check what Q and DQ have in common: a known positive scale, and zero as the zero point."""
    scale = graph.constants.get(node.input[1])
    if scale is None:
        yield f"{_name(node)}: its scale is not a constant"
    elif scale.dtype not in (np.float32, np.float16):
        yield f"{_name(node)}: its scale is {scale.dtype}"
    elif not (np.isfinite(scale).all() and (scale > 0).all()):
        yield f"{_name(node)}: a scale is not a positive number"
    elif scale.ndim > 1:
        yield f"{_name(node)}: its scale has {scale.ndim} axes"
    if len(node.input) < 3 or not node.input[2]:
        yield f"{_name(node)}: without a zero point it is of uint8"
        return
    zero = graph.constants.get(node.input[2])
    if zero is None:
        yield f"{_name(node)}: its zero point is not a constant"
    elif zero.dtype != np.int8:
        yield f"{_name(node)}: it is of {zero.dtype}, not int8"
    elif zero.any():
        yield f"{_name(node)}: its zero point is not 0"


def _of_quantize(node: onnx.NodeProto, graph: _Graph) -> Iterator[str]:
    others = {_name(user) for user in graph.consumers.get(node.output[0], []) if user.op_type != DEQUANTIZE}
    if others:
        yield f"{_name(node)}: {min(others)} takes its integers, not a DQ node"
    if node.output[0] in graph.outputs:
        yield f"{_name(node)}: its integers leave the network"
    is_weight = node.input[0] in graph.constants
    if not is_weight and _size(graph.constants.get(node.input[1])) > 1:
        yield f"{_name(node)}: activations are quantised per channel"


def _of_dequantize(node: onnx.NodeProto, graph: _Graph) -> Iterator[str]:
    stored = graph.constants.get(node.input[0])
    if stored is not None and stored.dtype == np.int32:
        yield f"{_name(node)}: a bias is quantised"
    elif stored is not None and stored.dtype != np.int8:
        yield f"{_name(node)}: it stores {stored.dtype}, not int8"
    elif stored is None and getattr(graph.producers.get(node.input[0]), "op_type", "") != QUANTIZE:
        yield f"{_name(node)}: what it takes comes from no Q node"


def _of_weights(node: onnx.NodeProto, graph: _Graph) -> Iterator[str]:
    """Check the weights of a layer whose input is quantised."""
    data, weights = (graph.producers.get(name) for name in node.input[:2])
    if data is None or data.op_type != DEQUANTIZE:
        return
    if weights is None or weights.op_type != DEQUANTIZE:
        if node.input[1] in graph.constants:
            yield f"{_name(node)}: its input is quantised and its weights are not"
        return
    stored, scale = _stored_weights(weights, graph), graph.constants.get(weights.input[1])
    if stored is None or scale is None or node.op_type != "Conv":
        return
    axis = next((one.i for one in weights.attribute if one.name == "axis"), 1)
    if _size(scale) != stored.shape[0] or (scale.ndim == 1 and axis != 0):
        yield f"{_name(node)}: its weights are not quantised per output channel (axis 0)"


def _stored_weights(dequantize: onnx.NodeProto, graph: _Graph) -> Array | None:
    """Return the constant behind a DQ node: integers, or floats behind a Q node."""
    source = dequantize.input[0]
    quantize = graph.producers.get(source)
    return graph.constants.get(quantize.input[0] if quantize is not None else source)


def _size(scale: Array | None) -> int:
    return 1 if scale is None else int(scale.size)


def _name(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {node.name or node.output[0]}"
