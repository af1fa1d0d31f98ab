"""The relation term: how far the general instances lie from one another in feature space.

Dai et al., CVPR 2021, section 3.3. Distances are divided by their own mean, so neither the width of a
network nor the scale of its features matters, and no adapter stands between: it could learn the distances
in the student's place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from distill.gid.settings import RelationScope

LEAST_INSTANCES = 3
"""Two instances have one distance, which is its own mean: nothing could be learnt from it."""

LEAST_MEAN_DISTANCE = 1e-9
"""Instances nearer than this are the same."""


def relation_loss(
    student: Sequence[Tensor], teacher: Sequence[Tensor], image_of: Tensor, scope: RelationScope
) -> Tensor:
    """Compare the distances among instances, averaged over the levels and over the pictures.

    Args:
        student: (N, ...) features per level.
        teacher: (N, ...) features per level, of any width; no gradient flows into it.
        image_of: (N,) the picture of each instance.
        scope: image compares the instances of each picture, batch all of them.
    Returns:
        A scalar; pictures with less than three instances are left out, 0 if that leaves none.
    """
    everyone = torch.ones_like(image_of, dtype=torch.bool)
    by_image = [image_of == image for image in sorted(set(image_of.tolist()))]
    terms = []
    for chosen in by_image if scope == "image" else [everyone]:
        if int(chosen.sum()) >= LEAST_INSTANCES:
            terms += [
                distance_loss(ours[chosen], theirs[chosen])
                for ours, theirs in zip(student, teacher, strict=True)
            ]
    return torch.stack(terms).mean() if terms else student[0].sum() * 0


def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare the distances among N instances: smooth L1, summed over all pairs, divided by N² - N.

    Args:
        student, teacher: (N, ...), N >= 2.
    """
    count = len(student)
    ours, theirs = relative_distances(student), relative_distances(teacher.detach())
    return functional.smooth_l1_loss(ours, theirs, reduction="sum") / (count * count - count)


def relative_distances(features: Tensor) -> Tensor:
    """Return (N, N) Euclidean distances, divided by the mean of those between different instances.

    All are 0 where all instances are the same.
    """
    flat = features.flatten(1).float()
    distances = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
    count = len(flat)
    mean = distances.sum() / (count * count - count)
    return distances / mean.clamp(min=LEAST_MEAN_DISTANCE)
