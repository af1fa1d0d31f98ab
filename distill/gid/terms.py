"""The methods of distillation: each makes named loss terms of a lesson, with modules to train for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from torch import Tensor, nn

from distill.core.precision import Precision
from distill.detector.outputs import HeadOutputs
from distill.gid.baseline import Projectors, weighted_feature_loss
from distill.gid.feature import Adapters, feature_loss, regions
from distill.gid.instances import LEAST_SIDE_PX, Instances, Selection, find_instances, inside_instances
from distill.gid.lesson import Lesson, channels_of
from distill.gid.relation import relation_loss
from distill.gid.response import box_loss, box_loss_for, class_loss, objectness_loss
from distill.settings.distillation import Distillation


class Terms(Protocol):
    """Make loss terms of lessons.

    Attributes:
        adapters: modules that learn beside the student and are no part of it; it may be empty.
    """

    adapters: nn.Module

    def of(self, lesson: Lesson) -> dict[str, Tensor]:
        """Return the terms by name, each a scalar without its weight; those of weight 0 are left out."""


class GeneralInstanceTerms:
    """General Instance Distillation.

    Args:
        settings: of the recipe.
        precision: the adapters compute in it.
        student, teacher: what both say of any picture, for the shapes.
        mm_per_px: scale of the input; None if it is not known.
    Raises:
        ConfigError: if the boxes of the two heads cannot be compared as the settings ask.
    """

    def __init__(
        self,
        settings: Distillation,
        precision: Precision,
        student: HeadOutputs,
        teacher: HeadOutputs,
        mm_per_px: float | None,
    ) -> None:
        self._settings = settings
        self._precision = precision
        self._selection = selection_of(settings, mm_per_px)
        self.adapters: nn.Module = nn.ModuleList()
        if settings.feature_weight:
            self.adapters = Adapters(channels_of(student.features), channels_of(teacher.features))
        if settings.response_box_weight:
            self._box_loss = box_loss_for(settings.box_loss, student, teacher)

    def of(self, lesson: Lesson) -> dict[str, Tensor]:
        """Return the terms (see `Terms`)."""
        settings, instances = self._settings, self.instances_of(lesson)
        terms: dict[str, Tensor] = {}
        if settings.feature_weight or settings.relation_weight:
            terms |= self._features(lesson, instances)
        if settings.response_class_weight or settings.response_box_weight:
            terms |= self._responses(lesson, self._mask(lesson, instances))
        return terms

    def instances_of(self, lesson: Lesson) -> Instances:
        """Find the general instances of a lesson."""
        return find_instances(
            lesson.student, lesson.teacher, lesson.input_hw_px, self._selection, lesson.cloth
        )

    def _features(self, lesson: Lesson, instances: Instances) -> dict[str, Tensor]:
        settings, rois, size = self._settings, instances.rois(), lesson.input_hw_px
        theirs = regions(lesson.teacher.features, rois, size)
        terms = {}
        if settings.feature_weight:
            with self._precision.autocast():
                adapted = self.adapters(lesson.student.features)
            terms["gid_feature"] = feature_loss(regions(adapted, rois, size), theirs)
        if settings.relation_weight:
            ours = regions(lesson.student.features, rois, size)
            terms["gid_relation"] = relation_loss(ours, theirs, instances.image_of, settings.relation_scope)
        return terms

    def _mask(self, lesson: Lesson, instances: Instances) -> Tensor:
        if self._settings.response_mask == "foreground":
            return lesson.foreground
        student = lesson.student
        images = len(student.class_logits)
        return inside_instances(instances, student.points_xy_px, student.strides_px, images)

    def _responses(self, lesson: Lesson, mask: Tensor) -> dict[str, Tensor]:
        settings, student, teacher = self._settings, lesson.student, lesson.teacher
        terms = {}
        if settings.response_class_weight:
            terms["gid_response_class"] = class_loss(student, teacher, mask)
            objectness = objectness_loss(student, teacher, mask)
            if objectness is not None:
                terms["gid_response_objectness"] = objectness
        if settings.response_box_weight:
            terms["gid_response_box"] = box_loss(student, teacher, mask, self._box_loss)
        return terms


class UltralyticsTerms:
    """Ultralytics' own distillation. Arguments as for `GeneralInstanceTerms`."""

    def __init__(
        self,
        settings: Distillation,
        precision: Precision,
        student: HeadOutputs,
        teacher: HeadOutputs,
        mm_per_px: float | None,
    ) -> None:
        self._precision = precision
        self.adapters: nn.Module = Projectors(channels_of(student.features), channels_of(teacher.features))

    def of(self, lesson: Lesson) -> dict[str, Tensor]:
        """Return the term (see `Terms`)."""
        with self._precision.autocast():
            projected = self.adapters(lesson.student.features)
        teacher = lesson.teacher
        return {"ultralytics": weighted_feature_loss(projected, teacher.features, teacher.scores)}


TermsMaker = Callable[[Distillation, Precision, HeadOutputs, HeadOutputs, "float | None"], Terms]

METHODS: Final[dict[str, TermsMaker]] = {"gid": GeneralInstanceTerms, "ultralytics": UltralyticsTerms}


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
