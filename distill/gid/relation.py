"""Compute the relation term: distances between the general instances in feature space.

Dai et al., CVPR 2021, section 3.3. Distances are divided by their own mean, so neither the width of a
network nor the scale of its features matters, and no adapter stands between: it could learn the distances
in the student's place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from distill.gid.roi_align import regions
from distill.gid.term import Heads, Seen, Term
from distill.settings.distillation import RelationScope

LEAST_INSTANCES = 3
"""Two instances have one distance, which is its own mean: nothing could be learnt from it."""

LEAST_MEAN_DISTANCE = 1e-9
"""Instances nearer than this are the same."""


class RelationTerm(Term):
    """The difference between the distances among the instances."""

    name, weight = "gid_relation", "relation_weight"

    def __init__(self, heads: Heads) -> None:
        self._scope = heads.settings.relation_scope

    def loss(self, seen: Seen) -> Tensor:
        ours = regions(
            seen.batch_outputs.student.features, seen.instances.rois(), seen.batch_outputs.input_hw_px
        )
        return relation_loss(ours, seen.teacher_regions, seen.instances.image_of, self._scope)


def relation_loss(
    student: Sequence[Tensor], teacher: Sequence[Tensor], image_of: Tensor, scope: RelationScope
) -> Tensor:
    """Compare the distances among instances, averaged over the levels and over the images.

    Args:
        student: (N, ...) features per level.
        teacher: (N, ...) features per level, of any width; no gradient flows into it.
        image_of: (N,) the image of each instance, rising.
        scope: image compares the instances of each image, batch all of them.
    Returns:
        A scalar; images with less than three instances are left out, 0 if that leaves none.
    """
    counts = image_of.bincount().tolist() if scope == "image" else [len(image_of)]
    terms = [
        distance_loss(ours, theirs)
        for level in zip(student, teacher, strict=True)
        for ours, theirs in zip(*(torch.split(side, counts) for side in level), strict=True)
        if len(ours) >= LEAST_INSTANCES
    ]
    return torch.stack(terms).mean() if terms else student[0].sum() * 0


def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare the distances among N instances: smooth L1, summed over all pairs, divided by N² - N.

    Args:
        student, teacher: (N, ...), N >= 2.
    """
    ours, theirs = relative_distances(student), relative_distances(teacher.detach())
    return functional.smooth_l1_loss(ours, theirs)  # of a pair and its reverse, both alike


def relative_distances(features: Tensor) -> Tensor:
    """Return the Euclidean distances of N instances, divided by their mean.

    All are 0 where all instances are the same.

    Returns:
        (N·(N - 1) / 2,), each pair once.
    """
    distances = functional.pdist(features.flatten(1).float())
    return distances / distances.mean().clamp(min=LEAST_MEAN_DISTANCE)
