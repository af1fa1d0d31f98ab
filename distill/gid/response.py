"""Compute the response term: compare the outputs of the heads where a mask is true.

Dai et al., CVPR 2021, section 3.4, for heads without anchors: scores by cross entropy, boxes by overlap or
as distributions over the sides (Zheng et al., Localization Distillation, CVPR 2022).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from distill.detector.outputs import HeadOutputs
from distill.gid.term import Heads, Seen, Term
from distill.settings.distillation import BoxLoss, BoxLossChoice
from edge.core.errors import ConfigError

LEAST_PROBABILITY = 1e-6


class ClassTerm(Term):
    """The cross entropy to the teacher's class scores."""

    name, weight = "gid_response_class", "response_class_weight"

    def loss(self, seen: Seen) -> Tensor:
        return class_loss(seen.batch_outputs.student, seen.batch_outputs.teacher, seen.mask)


class ObjectnessTerm(Term):
    """The cross entropy to the teacher's objectness, where both have it; the weight is that of classes."""

    name, weight = "gid_response_objectness", ClassTerm.weight

    def loss(self, seen: Seen) -> Tensor | None:
        return objectness_loss(seen.batch_outputs.student, seen.batch_outputs.teacher, seen.mask)


class BoxTerm(Term):
    """The difference between the boxes."""

    name, weight = "gid_response_box", "response_box_weight"

    def __init__(self, heads: Heads) -> None:
        self._kind = box_loss_for(heads.settings.box_loss, heads.student, heads.teacher)

    def loss(self, seen: Seen) -> Tensor:
        return box_loss(seen.batch_outputs.student, seen.batch_outputs.teacher, seen.mask, self._kind)


def class_loss(student: HeadOutputs, teacher: HeadOutputs, mask: Tensor) -> Tensor:
    """Compare class scores: cross entropy to the teacher's, summed over classes, mean over the mask.

    If only one of the two has objectness, its scores with objectness stand against the other's.

    Args:
        mask: (B, A) bool.
    Returns:
        A scalar; 0 where the mask is empty.
    """
    if (student.objectness_logits is None) == (teacher.objectness_logits is None):
        return _score_loss(student.class_logits, teacher.class_logits.sigmoid(), mask)
    if student.objectness_logits is None:
        return _score_loss(student.class_logits, teacher.scores, mask)
    ours = student.scores.clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return _score_loss(torch.logit(ours), teacher.scores, mask)


def objectness_loss(student: HeadOutputs, teacher: HeadOutputs, mask: Tensor) -> Tensor | None:
    """Compare objectness: cross entropy to the teacher's, mean over the mask; None unless both have it."""
    if student.objectness_logits is None or teacher.objectness_logits is None:
        return None
    targets = teacher.objectness_logits.sigmoid()
    return _score_loss(student.objectness_logits[..., None], targets[..., None], mask)


def box_loss(student: HeadOutputs, teacher: HeadOutputs, mask: Tensor, kind: BoxLoss) -> Tensor:
    """Compare boxes, mean over the mask.

    Args:
        mask: (B, A) bool.
        kind: giou is 1 - GIoU, ciou is 1 - CIoU plus its penalties; kl is KL(teacher || student) over the
            bins of a side, mean over the four sides.
    Returns:
        A scalar; 0 where the mask is empty.
    Raises:
        ConfigError: for kl, if a head gives no distributions, or both have different bins.
    """
    from torchvision.ops import (  # here: it loads the compiler of torch, for seconds
        complete_box_iou_loss,
        generalized_box_iou_loss,
    )

    if kind == "kl":
        return _distribution_loss(student, teacher, mask)
    losses = {"giou": generalized_box_iou_loss, "ciou": complete_box_iou_loss}
    ours, theirs = student.boxes_xyxy_px[mask], teacher.boxes_xyxy_px[mask].detach()
    total: Tensor = losses[kind](ours, theirs, reduction="sum")
    return total / max(1, len(ours))


def box_loss_for(choice: BoxLossChoice, student: HeadOutputs, teacher: HeadOutputs) -> BoxLoss:
    """Return how the boxes of two heads are compared.

    Raises:
        ConfigError: if kl is asked for, and a head gives no distributions, or both have different bins.
    """
    if choice == "auto":
        alike = _bins(student) is not None and _bins(student) == _bins(teacher)
        return "kl" if alike else "giou"
    if choice == "kl":
        _shared_distributions(student, teacher)
    return choice


def _shared_distributions(student: HeadOutputs, teacher: HeadOutputs) -> tuple[Tensor, Tensor]:
    """Return the side logits of both, (B, A, 4, bins) each.

    Raises:
        ConfigError: if a head gives no distributions, or both have different bins.
    """
    ours, theirs = student.side_logits, teacher.side_logits
    if ours is None or theirs is None or _bins(student) != _bins(teacher):
        said = ["none" if bins is None else f"{bins} bins" for bins in map(_bins, (student, teacher))]
        raise ConfigError(
            "distillation.box_loss = 'kl' compares distributions over the sides of boxes, but the "
            f"student's head gives {said[0]} and the teacher's {said[1]}.",
            "Set box_loss to auto, or train a teacher with the student's head.",
        )
    return ours, theirs


def _bins(outputs: HeadOutputs) -> int | None:
    return None if outputs.side_logits is None else outputs.side_logits.shape[-1]


def _distribution_loss(student: HeadOutputs, teacher: HeadOutputs, mask: Tensor) -> Tensor:
    ours, theirs = (logits[mask] for logits in _shared_distributions(student, teacher))
    total = functional.kl_div(
        ours.log_softmax(dim=-1),
        theirs.detach().log_softmax(dim=-1),
        reduction="sum",
        log_target=True,
    )
    return total / (4 * max(1, len(ours)))


def _score_loss(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Return the cross entropy of (B, A, n) logits and targets, summed over n, mean over the mask."""
    ours, theirs = logits[mask], targets[mask].detach()
    total = functional.binary_cross_entropy_with_logits(ours, theirs, reduction="sum")
    return total / max(1, len(ours))
