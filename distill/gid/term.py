"""What a term of a distillation is, and what it is computed from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from distill.core.precision import Precision
from distill.detector.outputs import HeadOutputs
from distill.gid.batch_outputs import BatchOutputs
from distill.gid.instances import Instances, find_instances, inside_instances, least_side_px
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
        self._least_side_px = least_side_px(heads.settings, heads.mm_per_px)

    @cached_property
    def instances(self) -> Instances:
        """The general instances."""
        return find_instances(self.batch_outputs, self._settings, self._least_side_px)

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


class Term(ABC):
    """Compare student and teacher in one respect. It is made if its weight is above 0.

    Attributes:
        name: in the history of a run, behind `loss_`.
        weight: the setting of `Distillation` that is the factor of its loss.
        adapters: what learns beside the student and is no part of it; None for nothing.

    Raises:
        ConfigError: if the two heads cannot be compared as the settings ask.
    """

    name: ClassVar[str]
    weight: ClassVar[str]
    adapters: nn.Module | None = None

    def __init__(self, heads: Heads) -> None:  # noqa: B027
        pass

    @abstractmethod
    def loss(self, seen: Seen) -> Tensor | None:
        """Return the loss of a batch, without its weight; None where the heads lack what it compares."""
