"""The feature term: what the necks see in the general instances.

Dai et al., CVPR 2021, section 3.2: regions of the instances are cut out of the feature maps of both by
ROIAlign, those of the student behind an adapter that is learnt with it, and compared by squared error.

An instance is cut out of every level, not of one chosen by its size: the rule of feature pyramid networks
(224 px for the level of stride 16) does not suit strides of 8, 16 and 32, and task-aligned assignment and
SimOTA let all levels answer for a defect.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from distill.gid.roi_align import roi_align

REGION_CELLS = 10
SAMPLES_PER_CELL = 2
"""ROIAlign of 10 x 10 cells with 2 x 2 samples in each, as in the paper and in the authors' release."""


class Adapters(nn.Module):
    """Bring the student's feature maps to the teacher's channels: a 3x3 convolution for each level.

    Args:
        student_channels, teacher_channels: per level.
    """

    def __init__(self, student_channels: Sequence[int], teacher_channels: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Conv2d(ours, theirs, kernel_size=3, padding=1)
            for ours, theirs in zip(student_channels, teacher_channels, strict=True)
        )

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the adapted maps, (B, teacher channels, H_l, W_l) per level."""
        return tuple(layer(level) for layer, level in zip(self.levels, features, strict=True))


def regions(features: Sequence[Tensor], rois: Tensor, input_hw_px: tuple[int, int]) -> tuple[Tensor, ...]:
    """Cut regions out of feature maps, in float32.

    Args:
        features: (B, C_l, H_l, W_l) per level.
        rois: (N, 5), number of the picture and box in input pixels.
    Returns:
        (N, C_l, 10, 10) per level.
    """
    cut: list[Tensor] = []
    for level in features:
        scale = level.shape[2] / input_hw_px[0]
        cut.append(roi_align(level.float(), rois, REGION_CELLS, scale, SAMPLES_PER_CELL))
    return tuple(cut)


def feature_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Compare regions: the squared error of a value, averaged over a level, then over the levels.

    The paper divides the sum by N·H·W; here it is divided by the channels, too, so that one weight suits
    teachers of all widths.

    Args:
        student: (N, C_l, H, W) per level, behind the adapters.
        teacher: of the same shapes; no gradient flows into it.
    Returns:
        A scalar; 0 without an instance.
    """
    if not len(student[0]):
        return student[0].sum()
    errors = [
        nn.functional.mse_loss(ours, theirs.detach()) for ours, theirs in zip(student, teacher, strict=True)
    ]
    return torch.stack(errors).mean()
