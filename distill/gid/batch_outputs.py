"""Hold the outputs of student and teacher for one batch: the distillation terms are computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distill.core.precision import Precision
from distill.detector.head import head_outputs
from distill.detector.outputs import HeadOutputs
from edge.core.errors import ConfigError


@dataclass(frozen=True, slots=True, eq=False)
class BatchOutputs:
    """Hold what student and teacher said of the same batch.

    Attributes:
        foreground: (B, A) bool, the places that the assigner gave a label.
        input_hw_px: height and width of the input.
        cloth: (B, h, w) bool, where there is cloth, at any resolution; None for everywhere.
    """

    student: HeadOutputs
    teacher: HeadOutputs
    foreground: Tensor
    input_hw_px: tuple[int, int]
    cloth: Tensor | None = None


def matched(module: nn.Module, images: Tensor, precision: Precision) -> HeadOutputs:
    """Run a detector in eval mode, without gradients.

    Args:
        images: (B, channels, H, W) float32, on the detector's device.
    """
    with torch.no_grad(), precision.autocast():
        predictions = module(images)[1]
    return head_outputs(module, predictions)


def channels_of(features: Sequence[Tensor]) -> list[int]:
    """Return the channels of feature maps, level by level."""
    return [level.shape[1] for level in features]


def check_alike(student: HeadOutputs, teacher: HeadOutputs) -> None:
    """See that two heads speak of the same places and classes.

    Raises:
        ConfigError: if not.
    """
    grids = [[tuple(level.shape[2:]) for level in one.features] for one in (student, teacher)]
    if grids[0] != grids[1] or student.class_logits.shape != teacher.class_logits.shape:
        raise ConfigError(
            f"The student's head has levels of {grids[0]} cells, {student.class_logits.shape[1]} places; "
            f"the teacher's has {grids[1]} and {teacher.class_logits.shape[1]}.",
            "Train a teacher with the student's head.",
        )
