"""The code of each head: what builds it, and by which loss and assigner it learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from torch import Tensor, nn

from distill.detector.coupled_head import CoupledHead
from distill.detector.coupled_loss import CoupledLoss
from distill.detector.simota import SimOta
from distill.detector.weighted_loss import WeightedDetectionLoss
from distill.detector.yolox_head import YoloxHead
from distill.detector.yolox_loss import YoloxLoss
from distill.settings.structure import HEADS, DetectorStructure
from distill.ultralytics_door import Detect, TaskAlignedAssigner


class Loss(Protocol):
    """Turn what a module gave in training mode into named loss parts."""

    @property
    def foreground(self) -> Tensor:
        """The places of the last batch that got a label, (B, A) bool."""

    def __call__(self, predictions: dict[str, Any], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the parts, each a scalar already weighted; they do not grow with the batch."""


def _decoupled_loss(module: nn.Module, assigner: str) -> Loss:
    own = HEADS["decoupled"].assigners[0]  # which ultralytics' loss makes for itself
    return WeightedDetectionLoss(module, None if assigner == own else ASSIGNERS[assigner](_head_of(module)))


def _yolox_loss(module: nn.Module, assigner: str) -> Loss:
    return YoloxLoss(module, ASSIGNERS[assigner](_head_of(module)))


def _task_aligned(head: YoloxHead) -> nn.Module:
    """Return ultralytics' assigner, set as it is for its own head (v8DetectionLoss of 8.4)."""
    return TaskAlignedAssigner(  # type: ignore[no-any-return]
        topk=10, num_classes=head.nc, alpha=0.5, beta=6.0, stride=list(head.strides_px)
    )


ASSIGNERS: Final[Mapping[str, Callable[[Any], nn.Module]]] = {
    "task-aligned": _task_aligned,
    "simota": lambda head: SimOta(),
}
"""Who says which place of a head answers for which box; made for that head."""


class HeadParts(NamedTuple):
    """Name the code of a head.

    Attributes:
        kind: its class.
        made: from the structure, the channels of the neck and its strides.
        loss: from the module and the name of an assigner, "" for a head that has none.
    """

    kind: type[nn.Module]
    made: Callable[[DetectorStructure, list[int], list[float]], nn.Module] | None
    loss: Callable[[nn.Module, str], Loss]


HEAD_PARTS: Final[Mapping[str, HeadParts]] = {
    "decoupled": HeadParts(Detect, None, _decoupled_loss),
    "yolox": HeadParts(
        YoloxHead,
        lambda structure, channels, strides_px: YoloxHead(structure.classes, channels, strides_px),
        _yolox_loss,
    ),
    "coupled": HeadParts(
        CoupledHead,
        lambda structure, channels, strides_px: CoupledHead(
            structure.classes, channels, strides_px, structure.anchors or ()
        ),
        lambda module, assigner: CoupledLoss(module),
    ),
}
"""By the name of the head in `HEADS`; ultralytics builds its own."""


def loss_of(module: nn.Module, assigner: str | None = None) -> Loss:
    """Return the loss of a detector.

    Args:
        module: of `build_module`.
        assigner: one of those of its head in `HEADS`; None for the first of them.
    Raises:
        ValueError: if the head does not know that assigner.
    """
    head = _head_of(module)
    name = next(name for name, parts in HEAD_PARTS.items() if isinstance(head, parts.kind))
    able = HEADS[name].assigners
    if assigner is not None and assigner not in able:
        raise ValueError(f"{HEADS[name].family} has no assigner {assigner}")
    return HEAD_PARTS[name].loss(module, assigner or next(iter(able), ""))


def _head_of(module: nn.Module) -> Any:
    return module.model[-1]  # type: ignore[index]
