"""The network as it leaves PyTorch: its own small module with the contract's ports, traced to ONNX."""

from __future__ import annotations

import io
import warnings

import torch
from torch import Tensor, nn

from distill.detector.build import infer, traceable_copy
from edge.contract import Outputs

OPSET = 17
"""Old enough for every runtime the project names (TensorRT 10.3 reads up to 20, ONNX Runtime 1.18 up to
21), new enough for Q/DQ per channel (13)."""

_EXPORTER_WARNINGS = (
    "You are using the legacy TorchScript-based ONNX export",
    "The feature will be removed",
)
"""The exporter by torch.export needs onnxscript and names its dimensions by itself; the older one gives
exactly the ports asked for. Both warnings say only that it is the older one."""


class PortedDetector(nn.Module):
    """Give a detector the ports of `edge.contract.Outputs` and nothing else.

    In: images (B, channels, H, W) float32. Out: boxes (B, A, 4) float32, x1 y1 x2 y2 in input pixels, and
    scores (B, A, classes) float32 in [0, 1]. Thresholds and suppression stay outside, in `edge.decode`.

    Args:
        module: of `build_module`, on the processor; it is copied.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = traceable_copy(module)
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return infer(self.module, images)


def traced_onnx(module: nn.Module, input_shape: tuple[int, int, int], ports: Outputs) -> bytes:
    """Trace a detector to an ONNX model with named ports that takes any batch size; nothing is checked.

    Args:
        module: of `build_module`, on the processor; it is left as it is.
        input_shape: channels, height, width.
    """
    names = [ports.images_port, ports.boxes_port, ports.scores_port]
    # Two images, not one: a trace of one would fold the batch size into the graph.
    example = torch.zeros(2, *input_shape)
    stream = io.BytesIO()
    with warnings.catch_warnings():
        for message in _EXPORTER_WARNINGS:
            warnings.filterwarnings("ignore", message, DeprecationWarning)
        torch.onnx.export(
            PortedDetector(module),
            (example,),
            stream,  # type: ignore[arg-type]  # the legacy exporter takes a stream; its annotation does not say so
            dynamo=False,
            opset_version=OPSET,
            input_names=names[:1],
            output_names=names[1:],
            dynamic_axes={name: {0: "B"} for name in names},
        )
    return stream.getvalue()
