"""Train a detector under a teacher: the loss parts of the labels and of the distillation terms."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from distill.core.precision import Precision
from distill.detector.build import DetectionTask
from distill.detector.head import head_outputs
from distill.gid.batch_outputs import BatchOutputs, check_alike, matched
from distill.gid.instances import Instances
from distill.gid.term import Heads
from distill.gid.terms import Terms
from distill.settings.distillation import Distillation


class DistillationTask:
    """Turn a batch into named loss parts, as `DetectionTask` does, with those of distillation beside them.

    The teacher stays in eval mode, frozen, and sees the very tensor that the student sees.

    Args:
        detection: learns from the labels; its module is the student.
        student: the module in training.
        teacher: frozen, in eval mode, on the student's device, in the same memory format.
        settings: of the recipe.
        precision: both compute in it.
        input_shape: channels, height, width.
        mm_per_px: scale of the input; None if it is not known.
        fraction: gives the factor of all distillation terms at this moment, in [0, 1].
    Raises:
        ConfigError: if the heads of the two cannot be compared as the settings ask.
    """

    def __init__(
        self,
        detection: DetectionTask,
        student: nn.Module,
        teacher: nn.Module,
        settings: Distillation,
        precision: Precision,
        *,
        input_shape: tuple[int, int, int],
        mm_per_px: float | None,
        fraction: Callable[[], float],
    ) -> None:
        self._detection = detection
        self._student, self._teacher = student, teacher
        self._precision, self._fraction = precision, fraction
        self._has_instances = settings.has_instances
        device = next(student.parameters()).device
        example = torch.zeros(1, *input_shape, device=device)
        was_training = student.training
        ours, theirs = matched(student.eval(), example, precision), matched(teacher, example, precision)
        student.train(was_training)
        check_alike(ours, theirs)
        self._terms = Terms(Heads(settings, precision, ours, theirs, mm_per_px))
        self._terms.adapters.to(device).train()

    @property
    def adapters(self) -> nn.Module:
        """What learns beside the student and is no part of it: for the optimizer and `last.pt`."""
        return self._terms.adapters

    def loss_parts(self, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the loss parts of a batch, each a scalar already weighted.

        Args:
            images, targets: as for `DetectionTask.loss_parts`; instances are kept to where `cloth`
                (B, h, w) among the targets is above 0, if it is there.
        """
        parts, predictions, foreground = self._detection.judged(images, targets)
        outputs = self._outputs(images, foreground, predictions, targets.get("cloth"))
        fraction = self._fraction()
        terms, weights = self._terms.of(outputs), self._terms.weights
        return parts | {name: term * weights[name] * fraction for name, term in terms.items()}

    def instances_of(
        self, student: nn.Module, images: Tensor, cloth: Tensor | None = None
    ) -> Instances | None:
        """Find the general instances of images; None if the method has none.

        Args:
            student: in eval mode.
            images: (B, channels, H, W) float32, on the student's device.
            cloth: (B, h, w), above 0 where there is cloth, at any resolution; None for everywhere.
        """
        if not self._has_instances:
            return None
        ours = matched(student, images, self._precision)
        theirs = matched(self._teacher, images, self._precision)
        nothing = torch.zeros(ours.class_logits.shape[:2], dtype=torch.bool, device=images.device)
        outputs = BatchOutputs(ours, theirs, nothing, _size(images), None if cloth is None else cloth > 0)
        return self._terms.seen(outputs).instances

    def _outputs(
        self,
        images: Tensor,
        foreground: Tensor,
        predictions: dict[str, Tensor],
        cloth: Tensor | None,
    ) -> BatchOutputs:
        ours = head_outputs(self._student, predictions)
        theirs = matched(self._teacher, images, self._precision)
        return BatchOutputs(ours, theirs, foreground, _size(images), None if cloth is None else cloth > 0)


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[2], images.shape[3]
