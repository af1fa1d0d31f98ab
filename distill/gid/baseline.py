"""Distil by ultralytics' own method, as the method to beat.

`distill_model=` of ultralytics 8.4.150 and later (`ultralytics/nn/distill_model.py` of 8.4.190): neck
features behind a projector, squared error weighted by the teacher's highest class score, gain `dis` = 6.
Its class wraps a model of ultralytics, head and loss included, and would bypass box weights and other
heads, so the term is written here to the same definition; a test compares it with that class.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from distill.gid.batch_outputs import channels_of
from distill.gid.feature import Adapters
from distill.gid.term import Heads, Seen, Term

EPSILON = 1e-9
"""That of `DistillationModel.loss_sl2`."""


class UltralyticsTerm(Term):
    """The squared error of neck features, weighted by the teacher's scores."""

    name, weight = "ultralytics", "ultralytics_weight"
    adapters: Projectors

    def __init__(self, heads: Heads) -> None:
        self.adapters = Projectors(channels_of(heads.student.features), channels_of(heads.teacher.features))
        self._precision = heads.precision

    def loss(self, seen: Seen) -> Tensor:
        with self._precision.autocast():
            projected = self.adapters(seen.batch_outputs.student.features)
        teacher = seen.batch_outputs.teacher
        return weighted_feature_loss(projected, teacher.features, teacher.scores)


class Projectors(Adapters):
    """Bring the student's maps to the teacher's channels: 1x1 convolution, ReLU, 1x1 convolution."""

    @staticmethod
    def layer(student_channels: int, teacher_channels: int) -> nn.Module:
        """Make what projects a level."""
        return nn.Sequential(
            nn.Conv2d(student_channels, teacher_channels, kernel_size=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(teacher_channels, teacher_channels, kernel_size=1),
        )


def weighted_feature_loss(
    student: Sequence[Tensor], teacher: Sequence[Tensor], teacher_scores: Tensor
) -> Tensor:
    """Compare feature maps, weighted by the teacher's scores, summed over the levels.

    Args:
        student: (B, C_l, H_l, W_l) per level, behind the projectors.
        teacher: of the same shapes; no gradient flows into it.
        teacher_scores: (B, A, classes) in [0, 1], levels one after the other, row by row. Where a head has
            several places in each cell (anchors), the most confident of them counts.
    """
    highest = teacher_scores.detach().amax(dim=-1)
    cells = [level.shape[2] * level.shape[3] for level in teacher]
    in_each = highest.shape[1] // sum(cells)
    by_level = torch.split(highest, [in_each * count for count in cells], dim=1)
    terms = []
    for ours, theirs, places in zip(student, teacher, by_level, strict=True):
        weight = places.reshape(len(places), in_each, -1).amax(dim=1)
        errors = (ours.float() - theirs.detach().float()).square().flatten(2) * weight[:, None]
        terms.append(errors.sum() / (weight.sum() * ours.shape[1] + EPSILON))
    return torch.stack(terms).sum()
