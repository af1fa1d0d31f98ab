"""Random outputs of heads, and small real detectors."""

from __future__ import annotations

import torch

from distill.detector.build import build_module
from distill.detector.outputs import HeadOutputs, cell_centres
from distill.settings.structure import DetectorStructure

SIZE_PX = 64
CHANNELS = {"student": (4, 6, 8), "teacher": (6, 9, 12)}


def random_outputs(seed, who="student", *, images=3, classes=3, objectness=False, bins=16, grad=False):
    """Return outputs for 64 px images at strides 8, 16 and 32: 84 places each."""
    made = torch.Generator().manual_seed(seed)

    def normal(*shape, scale=1.0):
        return (torch.randn(*shape, generator=made) * scale).requires_grad_(grad)

    features = tuple(
        normal(images, channels, SIZE_PX // stride, SIZE_PX // stride)
        for channels, stride in zip(CHANNELS[who], (8, 16, 32), strict=True)
    )
    points, strides = cell_centres(features, torch.tensor([8.0, 16.0, 32.0]))
    sides = torch.rand(images, len(points), 4, generator=made) * 24 + 0.2
    boxes = torch.cat([points - sides[..., :2], points + sides[..., 2:]], dim=-1).requires_grad_(grad)
    return HeadOutputs(
        features=features,
        class_logits=normal(images, len(points), classes, scale=2.0),
        objectness_logits=normal(images, len(points)) if objectness else None,
        boxes_xyxy_px=boxes,
        side_logits=normal(images, len(points), 4, bins) if bins else None,
        points_xy_px=points,
        strides_px=strides,
    )


def random_mask(seed, images=3, fraction=0.3):
    return torch.rand(images, 84, generator=torch.Generator().manual_seed(seed)) < fraction


def small_detector(seed, scale="p", channels=1, classes=3):
    """Return a detector whose scores are another's at every location, whatever it sees.

    Two that are merely untrained agree to the last bit on some processors: their activations fade away.
    """
    torch.manual_seed(seed)
    module = build_module(DetectorStructure(scale=scale, channels=channels, classes=classes))
    with torch.no_grad():
        for name, bias in module.named_parameters():
            if name.endswith(".2.bias") and ".cv3." in name:
                bias.copy_(torch.linspace(-1, 1, classes).roll(seed))
    return module
