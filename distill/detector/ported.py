"""Wrap the network for export: its own small module with the contract's ports, traced to ONNX."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from distill.detector.build import infer, traceable_copy
from distill.detector.head import wrapped
from edge.core.contract import AnyOutputs, RawOutputs

OPSET = 17
"""Old enough for every runtime the project names (TensorRT 10.3 reads up to 20, ONNX Runtime 1.18 up to
21), new enough for Q/DQ per channel (13)."""

BATCH_AXIS = "B"
"""Name of the first axis of every port while it may have any length."""

_EXPORTER_WARNINGS = (
    "You are using the legacy TorchScript-based ONNX export",
    "The feature will be removed",
)
"""The exporter by torch.export needs onnxscript and names its dimensions by itself; the older one gives
exactly the ports asked for. Both warnings say only that it is the older one."""


class PortedDetector(nn.Module):
    """Give a detector the ports of `edge.core.contract` and nothing else.

    In: images (B, channels, H, W) float32. Out, with `Outputs`: boxes (B, A, 4) float32, x1 y1 x2 y2 in
    input pixels, and scores (B, A, classes) float32 in [0, 1]; with `RawOutputs`: the maps of the head, in
    the order of its ports. Thresholds and suppression stay outside, in `edge.inference.decode`.

    Args:
        module: of `build_module`, on the processor; it is copied.
    """

    def __init__(self, module: nn.Module, outputs: AnyOutputs) -> None:
        super().__init__()
        self.module = traceable_copy(module)
        self._is_raw = isinstance(outputs, RawOutputs)
        if self._is_raw:
            layers = cast("nn.Sequential", self.module.get_submodule("model"))
            layers[-1] = RawHead(layers[-1])
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        if not self._is_raw:
            return infer(self.module, images)
        maps: tuple[Tensor, ...] = self.module(images)
        return maps


class RawHead(nn.Module):
    """Give the maps of a head's last convolutions, in the order of `Head.raw_outputs`.

    Args:
        head: one that has `raw_outputs`.
    """

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.head = head
        self.i, self.f = head.i, head.f  # its number and the layers it reads: ultralytics' forward asks

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        head = wrapped(self.head)
        return tuple(map_ for number, level in enumerate(features) for map_ in head.raw_maps(number, level))


def traced_onnx(module: nn.Module, input_shape: tuple[int, int, int], ports: AnyOutputs) -> bytes:
    """Trace a detector to an ONNX model with named ports that takes any batch size; nothing is checked.

    Args:
        module: of `build_module`, on the processor; it is left as it is.
        input_shape: channels, height, width.
    """
    names = [ports.images_port, *ports.output_ports]
    # Two images, not one: a trace of one would fold the batch size into the graph.
    example = torch.zeros(2, *input_shape)
    stream = io.BytesIO()
    with warnings.catch_warnings():
        for message in _EXPORTER_WARNINGS:
            warnings.filterwarnings("ignore", message, DeprecationWarning)
        torch.onnx.export(
            PortedDetector(module, ports),
            (example,),
            stream,  # type: ignore[arg-type]  # the legacy exporter takes a stream; its annotation does not say so
            dynamo=False,
            opset_version=OPSET,
            input_names=names[:1],
            output_names=names[1:],
            dynamic_axes={name: {0: BATCH_AXIS} for name in names},
        )
    return stream.getvalue()
