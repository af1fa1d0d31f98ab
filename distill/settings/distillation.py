"""Define the tables `[distillation]` and `[teacher]` of a recipe: how a student learns from a teacher."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from distill.core.value import FiniteValue, Fraction
from distill.settings.structure import Scale

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
GiScore = Literal["per-class", "of-maxima"]
RelationScope = Literal["image", "batch"]
BoxLoss = Literal["giou", "ciou", "kl"]
BoxLossChoice = Literal["auto", BoxLoss]


class Distillation(FiniteValue):
    """Say what is learnt from the teacher besides the labels, and how strongly.

    The weights are chosen so that each term begins at the order of a part of the detection loss (measured
    with a YOLOv5n teacher on real cloth: squared error of features 0.6, relation 0.03 falling to 0.003,
    responses 2 falling to 0.5 and 0.1); 0 switches a term off. All but `method`, `ultralytics_weight` and
    the schedule belong to the method gid.

    Attributes:
        method: gid, or ultralytics for that package's own distillation of neck features.
        feature_weight: of the squared error between the features of the instances.
        relation_weight: of the difference between the distances among the instances.
        response_class_weight: of the cross entropy to the teacher's scores; of objectness, too, where
            both have it.
        response_box_weight: of the difference between the boxes.
        ultralytics_weight: `dis` of ultralytics.
        gi_score: per-class takes the greatest difference of any class (the paper), of-maxima the
            difference of the greatest scores (the authors' release).
        candidates: places with the highest score in an image that go on to non-maximum suppression.
        nms_iou: instances that overlap more are the same.
        instances: kept in each image, at most.
        min_size_mm: a box with a shorter side on the cloth is no instance; None has no limit. Where the
            scale of the images is not known there is none either.
        relation_scope: distances among the instances of an image, or of the whole batch.
        response_mask: where responses are compared: at the places that the assigner gave a label, or
            inside the general instances. Instances hold mostly background: their class term is some fifty
            times smaller, and wants a larger weight.
        box_loss: giou and ciou compare boxes; kl compares distributions over the sides, which both heads
            must have, with the same number of bins; auto takes kl where they do, else giou.
        warmup_epochs: over which all weights rise from 0: at first the instances are the student's noise.
        decay: how the weights go on from there to the last epoch.
        final_share: what is left of them there, unless `decay` is constant.
        cloth: auto keeps instances to where the edge's cloth finder sees cloth; a tile in which it sees
            none, which may be cloth too faint for it, counts as cloth throughout. all asks nobody.
        picture_epochs: after these epochs, counted from 1, images of the instances are written.
        least_teacher_map50: a teacher that reaches less on the validation split has learnt nothing, and
            ends the run before anything is trained under it; 0 takes any.
    """

    method: Literal["gid", "ultralytics"] = "gid"
    feature_weight: Weight = 4.0
    relation_weight: Weight = 40.0
    response_class_weight: Weight = 1.0
    response_box_weight: Weight = 1.0
    ultralytics_weight: Weight = 6.0
    gi_score: GiScore = "per-class"
    candidates: int = Field(default=3000, ge=1)
    nms_iou: float = Field(default=0.3, gt=0, le=1)
    instances: int = Field(default=10, ge=1, le=1000)
    min_size_mm: float | None = Field(default=0.3, gt=0)
    relation_scope: RelationScope = "image"
    response_mask: Literal["foreground", "instances"] = "foreground"
    box_loss: BoxLossChoice = "auto"
    warmup_epochs: float = Field(default=1.0, ge=0)
    decay: Literal["constant", "linear", "cosine"] = "constant"
    final_share: Fraction = 0.1
    cloth: Literal["auto", "all"] = "auto"
    picture_epochs: tuple[Annotated[int, Field(ge=1)], ...] = (1, 5, 20)
    least_teacher_map50: Fraction = 0.05

    @model_validator(mode="after")
    def _teaches_something(self) -> Self:
        keys = [key for key in type(self).model_fields if key.endswith("_weight")]
        own = [key for key in keys if (key == "ultralytics_weight") != self.has_instances]
        if not any(getattr(self, key) for key in own):
            raise ValueError(f"no term of the method {self.method} has a weight above 0")
        return self

    def fraction_at(self, epochs_done: float, epochs: int) -> float:
        """Return the factor of all terms: it rises in a line, stays or falls.

        Args:
            epochs_done: since the beginning, with fractions.
            epochs: of the whole training.
        Returns:
            In [0, 1]: 0 at the beginning with a warm-up; `final_share` at the end with a decay.
        """
        if epochs_done < self.warmup_epochs:
            return epochs_done / self.warmup_epochs
        left = epochs - self.warmup_epochs
        progress = min(1.0, (epochs_done - self.warmup_epochs) / left) if left > 0 else 0.0
        fallen = {
            "constant": 0.0,
            "linear": progress,
            "cosine": (1 - math.cos(math.pi * progress)) / 2,
        }[self.decay]
        return 1 - (1 - self.final_share) * fallen

    @property
    def has_instances(self) -> bool:
        """Whether the method compares general instances."""
        return self.method == "gid"

    @property
    def finds_cloth(self) -> bool:
        """Whether training has to say where the cloth is: only general instances are limited to it."""
        return self.has_instances and self.cloth == "auto"


class TeacherRecipe(FiniteValue):
    """Say how a teacher is trained where none is given: as its student, but for these.

    Attributes:
        scale: size of the YOLOv5.
        epochs, batch, learning_rate, time_limit_min: None takes the student's.
    """

    scale: Scale = "l"
    epochs: int | None = Field(default=None, ge=1, le=100_000)
    batch: int | None = Field(default=None, ge=1, le=4096)
    learning_rate: float | None = Field(default=None, gt=0, le=1)
    time_limit_min: float | None = Field(default=None, gt=0)
