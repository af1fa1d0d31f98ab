"""The network as it is exported: its own small module with the contract's ports."""

from __future__ import annotations

from torch import Tensor, nn

from distill.checkpoint import Detector, infer, traceable_copy


class PortedDetector(nn.Module):
    """Give a detector the ports of `edge.contract.Outputs` and nothing else.

    In: images (B, channels, H, W) float32. Out: boxes (B, A, 4) float32, x1 y1 x2 y2 in input pixels, and
    scores (B, A, classes) float32 in [0, 1]. Thresholds and suppression stay outside, in `edge.decode`.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.module = traceable_copy(detector.module)
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return infer(self.module, images)
