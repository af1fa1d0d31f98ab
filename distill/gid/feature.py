"""Compute the feature term: compare what the necks see in the general instances.

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

from distill.gid.batch_outputs import channels_of
from distill.gid.roi_align import regions
from distill.gid.term import Heads, Seen, Term


class FeatureTerm(Term):
    """The squared error between the features of the instances."""

    name, weight = "gid_feature", "feature_weight"
    adapters: Adapters

    def __init__(self, heads: Heads) -> None:
        self.adapters = Adapters(channels_of(heads.student.features), channels_of(heads.teacher.features))
        self._precision = heads.precision

    def loss(self, seen: Seen) -> Tensor:
        with self._precision.autocast():
            adapted = self.adapters(seen.batch_outputs.student.features)
        ours = regions(adapted, seen.instances.rois(), seen.batch_outputs.input_hw_px)
        return feature_loss(ours, seen.teacher_regions)


class Adapters(nn.Module):
    """Bring the student's feature maps to the teacher's channels: a 3x3 convolution for each level.

    Args:
        student_channels, teacher_channels: per level.
    """

    def __init__(self, student_channels: Sequence[int], teacher_channels: Sequence[int]) -> None:
        super().__init__()
        both = zip(student_channels, teacher_channels, strict=True)
        self.levels = nn.ModuleList(self.layer(ours, theirs) for ours, theirs in both)

    @staticmethod
    def layer(student_channels: int, teacher_channels: int) -> nn.Module:
        """Make what adapts a level."""
        return nn.Conv2d(student_channels, teacher_channels, kernel_size=3, padding=1)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the adapted maps, (B, teacher channels, H_l, W_l) per level."""
        return tuple(layer(level) for layer, level in zip(self.levels, features, strict=True))


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
