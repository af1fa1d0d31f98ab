"""Which loss a detector learns by."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn

from distill.detector.choice import ASSIGNERS
from distill.detector.coupled_head import CoupledHead
from distill.detector.coupled_loss import CoupledLoss
from distill.detector.simota import SimOta
from distill.detector.weighted_loss import WeightedDetectionLoss
from distill.detector.yolox_head import YoloxHead
from distill.detector.yolox_loss import YoloxLoss
from distill.settings.structure import AssignerName, Family
from distill.ultralytics_door import TaskAlignedAssigner


class Loss(Protocol):
    """Turn what a module gave in training mode into named loss parts."""

    @property
    def foreground(self) -> Tensor:
        """The places of the last batch that got a label, (B, A) bool."""

    def __call__(self, predictions: dict[str, Any], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the parts, each a scalar already weighted; they do not grow with the batch."""


def loss_of(module: nn.Module, assigner: AssignerName | None = None) -> Loss:
    """Return the loss of a detector.

    Args:
        module: of `build_module`.
        assigner: one of `ASSIGNERS` of its family; None for the first of them.
    Raises:
        ValueError: if the family does not know that assigner.
    """
    head: Any = module.model[-1]  # type: ignore[index]
    family: Family = "yolov5-decoupled"
    if isinstance(head, YoloxHead):
        family = "yolov5-yolox"
    elif isinstance(head, CoupledHead):
        family = "yolov5-coupled"
    if assigner is not None and assigner not in ASSIGNERS[family]:
        raise ValueError(f"{family} has no assigner {assigner}")
    if family == "yolov5-coupled":
        return CoupledLoss(module)
    chosen = assigner or ASSIGNERS[family][0]
    if family == "yolov5-decoupled":
        return WeightedDetectionLoss(module, SimOta() if chosen == "simota" else None)
    return YoloxLoss(module, SimOta() if chosen == "simota" else task_aligned(head))


def task_aligned(head: YoloxHead) -> nn.Module:
    """Return ultralytics' assigner, set as it is for its own head (v8DetectionLoss of 8.4)."""
    return TaskAlignedAssigner(  # type: ignore[no-any-return]
        topk=10, num_classes=head.nc, alpha=0.5, beta=6.0, stride=list(head.strides_px)
    )
