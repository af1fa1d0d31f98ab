"""Small detectors of every head, with batch norms that tell channels apart."""

from __future__ import annotations

import torch

from distill.detector.build import build_module
from distill.settings.structure import YOLOV5_ANCHORS, DetectorStructure
from tests.unit.distill.detector.small_heads import widths_of

HEADS = ("decoupled", "yolox", "coupled")
SIZE_HW_PX = (64, 64)


def structure_with(kind: str = "decoupled", scale: str = "p", **changes) -> DetectorStructure:
    anchors = YOLOV5_ANCHORS if kind == "coupled" else None
    values = {"family": f"yolov5-{kind}", "scale": scale, "channels": 1, "classes": 3, "anchors": anchors}
    return DetectorStructure(**{**values, **changes})


def lively(structure: DetectorStructure, seed: int = 0) -> torch.nn.Module:
    """Build a detector in eval mode whose norms have all their numbers drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    module = build_module(structure)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            drawn = torch.rand(4, layer.num_features, generator=generator)
            layer.weight.data = drawn[0] + 0.5
            layer.bias.data = drawn[1] - 0.5
            layer.running_mean = drawn[2] * 0.2
            layer.running_var = drawn[3] + 0.5
    return module.eval()


def halved(structure: DetectorStructure, name: str) -> DetectorStructure:
    """Return a structure whose named convolution has half the output channels, and nobody minds."""
    widths = {layer: (out, inn) for layer, out, inn in widths_of(build_module(structure))}
    out_channels, in_channels = widths[name]
    return structure.model_copy(update={"widths": ((name, out_channels // 2, in_channels),)})
