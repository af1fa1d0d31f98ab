"""Small detectors of every head, and batches for them."""

from __future__ import annotations

import pytest
import torch

from distill.core.precision import Precision
from distill.detector.build import DetectionTask, build_module
from distill.detector.channels import channel_graph
from distill.settings.structure import HEAD_OF_FAMILY, HEADS, YOLOV5_ANCHORS, DetectorStructure

FAMILIES = tuple(HEAD_OF_FAMILY)
EXAMPLES = [
    pytest.param(kind.family, assigner, id=f"{name}-{assigner}" if assigner else name)
    for name, kind in HEADS.items()
    for assigner in kind.assigners or (None,)
]
FLOAT32 = Precision("float32", "cpu")

SHORT_BACKBONE = (
    (-1, 1, "Conv", (64, 6, 2, 2)),
    (-1, 1, "Conv", (128, 3, 2)),
    (-1, 1, "Conv", (256, 3, 2)),
    (-1, 1, "Conv", (512, 3, 2)),
    (-1, 1, "Conv", (1024, 3, 2)),
)
"""Strides 2 to 32 and nothing between: quick to train."""
SHORT = {"backbone": SHORT_BACKBONE, "head": (((2, 3, 4), 1, "Detect", ("nc",)),)}


def structure_of(family, **changes) -> DetectorStructure:
    anchors = YOLOV5_ANCHORS if family == "yolov5-coupled" else None
    values = {"family": family, "scale": "p", "channels": 1, "classes": 3, "anchors": anchors}
    return DetectorStructure(**{**values, **changes})


def module_of(family, **changes) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_module(structure_of(family, **changes))


def task_of(family, assigner, precision=FLOAT32, **changes):
    module = module_of(family, **{**SHORT, **changes}).train()
    return module, DetectionTask(module, precision, assigner)


def targets_of(rows, weights=None):
    """Rows: image, class, then centre x, centre y, width, height as fractions."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return {
        "batch_idx": table[:, 0],
        "cls": table[:, 1:2],
        "bboxes": table[:, 2:],
        "weights": torch.ones(len(table)) if weights is None else torch.tensor(weights),
    }


BOXES = [(0, 1, 0.5, 0.5, 0.3, 0.3), (1, 2, 0.3, 0.3, 0.1, 0.5), (1, 0, 0.7, 0.7, 0.4, 0.4)]


def input_images(count=2, size=64):
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(1))


def widths_of(module):
    """Return name, output and input channels of all convolutions of a detector, sorted by name."""
    layers = {one.name: module.get_submodule(one.name) for one in channel_graph(module).convolutions}
    return tuple(sorted((name, layer.out_channels, layer.in_channels) for name, layer in layers.items()))
