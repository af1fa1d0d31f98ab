"""Count the cost of each layer of an exported network."""

from __future__ import annotations

from math import prod

import onnx

from edge.bundle.manifest import LayerSize


def layer_sizes(model: onnx.ModelProto) -> tuple[LayerSize, ...]:
    """Count MACs and weights of the convolutions of each layer, in the order of the graph.

    Args:
        model: of `onnx_model`, whose shapes are known. A layer is what stands first in a node's path:
            `/module/model.4/cv1/conv/Conv` belongs to `model.4`.
    """
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.value_info, *model.graph.output)
    }
    weights = {one.name: list(one.dims) for one in model.graph.initializer}
    layers: dict[str, tuple[int, int]] = {}
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        parameters = sum(prod(weights.get(name, [0])) for name in node.input[1:])
        filter_size = prod(weights[node.input[1]][1:])
        macs = filter_size * prod(shapes[node.output[0]][1:])
        before = layers.get(_layer(node.name), (0, 0))
        layers[_layer(node.name)] = before[0] + macs, before[1] + parameters
    return tuple(
        LayerSize(name=name, macs=macs, parameters=parameters)
        for name, (macs, parameters) in layers.items()
    )


def _layer(path: str) -> str:
    parts = [part for part in path.split("/") if part]
    return next((part for part in parts if part != "module"), path)
