"""What a term of a distillation is, and what it is computed from."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from distill.core.precision import Precision
from distill.detector.outputs import HeadOutputs
from distill.gid.batch_outputs import BatchOutputs
from distill.gid.instances import LEAST_SIDE_PX, Instances, Selection, find_instances, inside_instances
from distill.gid.roi_align import regions
from distill.settings.distillation import Distillation


class Heads(NamedTuple):
    """Say for whom terms are made.

    Attributes:
        settings: of the recipe.
        precision: what learns beside the student computes in it.
        student, teacher: their outputs for any image, for the shapes.
        mm_per_px: scale of the input; None if it is not known.
    """

    settings: Distillation
    precision: Precision
    student: HeadOutputs
    teacher: HeadOutputs
    mm_per_px: float | None


class Seen:
    """Hold a batch and what several terms need of it, computed when the first one asks."""

    def __init__(self, outputs: BatchOutputs, heads: Heads) -> None:
        self.batch_outputs = outputs
        self._settings = heads.settings
        self._selection = selection_of(heads.settings, heads.mm_per_px)

    @cached_property
    def instances(self) -> Instances:
        """The general instances."""
        outputs = self.batch_outputs
        return find_instances(
            outputs.student, outputs.teacher, outputs.input_hw_px, self._selection, outputs.cloth
        )

    @cached_property
    def teacher_regions(self) -> tuple[Tensor, ...]:
        """The teacher's features in the instances; see `regions`."""
        return regions(
            self.batch_outputs.teacher.features, self.instances.rois(), self.batch_outputs.input_hw_px
        )

    @cached_property
    def mask(self) -> Tensor:
        """Where responses are compared: (B, A) bool."""
        if self._settings.response_mask == "foreground":
            return self.batch_outputs.foreground
        student = self.batch_outputs.student
        images = len(student.class_logits)
        return inside_instances(self.instances, student.points_xy_px, student.strides_px, images)


class Term(Protocol):
    """Compare student and teacher in one respect. It is made if its weight is above 0."""

    @property
    def name(self) -> str:
        """Its name in the history of a run, behind `loss_`."""

    @property
    def adapters(self) -> nn.Module | None:
        """What learns beside the student and is no part of it; None for nothing."""

    def __init__(self, heads: Heads) -> None:
        """Make what the term needs.

        Raises:
            ConfigError: if the two heads cannot be compared as the settings ask.
        """

    @staticmethod
    def weight(settings: Distillation) -> float:
        """Return the factor of the loss."""

    def loss(self, seen: Seen) -> Tensor | None:
        """Return the loss, a scalar without its weight; None where the heads lack what it compares."""


def selection_of(settings: Distillation, mm_per_px: float | None) -> Selection:
    """Say which places become instances at a scale."""
    limit_mm = settings.min_size_mm
    limit_px = limit_mm / mm_per_px if limit_mm is not None and mm_per_px is not None else 0.0
    return Selection(
        gi_score=settings.gi_score,
        candidates=settings.candidates,
        nms_iou=settings.nms_iou,
        instances=settings.instances,
        min_side_px=max(LEAST_SIDE_PX, limit_px),
    )
