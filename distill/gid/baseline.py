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


class Projectors(nn.Module):
    """Bring the student's feature maps to the teacher's channels: 1x1 convolution, ReLU, 1x1 convolution.

    Args:
        student_channels, teacher_channels: per level.
    """

    def __init__(self, student_channels: Sequence[int], teacher_channels: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(ours, theirs, kernel_size=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(theirs, theirs, kernel_size=1),
            )
            for ours, theirs in zip(student_channels, teacher_channels, strict=True)
        )

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the projected maps, (B, teacher channels, H_l, W_l) per level."""
        return tuple(layer(level) for layer, level in zip(self.levels, features, strict=True))


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
