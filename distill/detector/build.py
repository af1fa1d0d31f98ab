"""Build a module that trains and infers from a structure."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from distill.core.precision import Precision
from distill.detector.losses import HEAD_PARTS, loss_of
from distill.detector.widths import resize
from distill.settings.structure import HEAD_OF_FAMILY, AssignerName, DetectorStructure
from distill.ultralytics_door import Detect, DetectionModel, initialize_weights

LOSS_GAINS = {"box": 7.5, "cls": 0.5, "dfl": 1.5}
"""Weights of the loss parts: ultralytics' defaults (cfg/default.yaml of 8.4)."""


def build_module(structure: DetectorStructure) -> nn.Module:
    """Build a detector with fresh weights.

    The module's `forward` takes (B, channels, H, W) float32, sides multiples of 32. In training mode it
    gives the raw head outputs, in eval mode a pair whose first is (B, 4 + classes, A): centre x, centre
    y, width, height in input pixels, then scores in [0, 1], objectness in them. Whatever the head,
    `distill.detector.head` reads what it gives in training mode.

    Raises:
        ValueError: if the structure's widths do not fit its layers or one another.
    """
    module = DetectionModel(structure.as_ultralytics_yaml(), ch=structure.channels, verbose=False)
    module.args = SimpleNamespace(**LOSS_GAINS)
    if (made := HEAD_PARTS[HEAD_OF_FAMILY[structure.family]].made) is not None:
        _change_head(module, partial(made, structure))
    if structure.widths is not None:
        resize(module, structure.widths)
    return module  # type: ignore[no-any-return]


def _change_head(module: Any, made: Callable[[list[int], list[float]], nn.Module]) -> None:
    """Put another head where ultralytics built its own; it is made of the neck's channels and strides."""
    theirs = module.model[-1]
    channels = [branch[0].conv.in_channels for branch in theirs.cv2]
    ours = made(channels, theirs.stride.tolist())
    initialize_weights(ours)  # epsilon and momentum of the normalisation, as everywhere else
    for name in ("i", "f"):  # its number and the layers it reads: ultralytics' forward asks for both
        setattr(ours, name, getattr(theirs, name))
    module.model[-1] = ours


def infer(module: nn.Module, images_nchw: Tensor) -> tuple[Tensor, Tensor]:
    """Run a detector in eval mode.

    Args:
        images_nchw: (B, channels, H, W) float32, of `edge.inference.preprocess.Preprocessor.batch`.
    Returns:
        Boxes (B, A, 4), x1 y1 x2 y2 in input pixels, and scores (B, A, classes) in [0, 1].
    """
    predictions = module(images_nchw)[0].transpose(1, 2)
    centres, sides, scores = predictions[..., :2], predictions[..., 2:4], predictions[..., 4:]
    return torch.cat([centres - sides / 2, centres + sides / 2], dim=-1), scores


def traceable_copy(module: nn.Module) -> nn.Module:
    """Copy a detector for a tracer.

    The head remembers the anchor points of the last input size. A tracer must see them computed, and what
    it leaves there in their place must not reach a module that is still in use.
    """
    copy = deepcopy(module).eval()
    for layer in copy.modules():
        if isinstance(layer, Detect):
            layer.shape = None
    return copy


class DetectionTask:
    """Turn a batch into named loss parts: what the training loop asks of a task.

    Another task (distillation, for instance) gives more parts; the loop only adds them up.

    Args:
        module: of `build_module`; its head decides which loss.
        precision: of the forward pass; assignment and loss are computed in float32.
        assigner: who says which place answers for which box; None for the head's own.
        run: what is called in the module's place, such as the module with rounded weights; None for itself.
    """

    def __init__(
        self,
        module: nn.Module,
        precision: Precision,
        assigner: AssignerName | None = None,
        run: nn.Module | None = None,
    ) -> None:
        self._run = run or module
        self._precision = precision
        self._loss = loss_of(module, assigner)

    def loss_parts(self, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the loss parts of a batch, each a scalar already weighted.

        Args:
            images: (B, channels, H, W) float32.
            targets: `batch_idx` (N,), `cls` (N, 1) and `bboxes` (N, 4) centre x, centre y, width, height
                as fractions of the input, and `weights` (N,) in [0, 1], all float32.
        """
        return self.judged(images, targets)[0]

    def judged(
        self, images: Tensor, targets: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        """Return the loss parts, what the module gave, and which places got a label, (B, A) bool."""
        with self._precision.autocast():
            predictions = self._run(images)
        for name, value in predictions.items():  # assignment and loss are computed in float32
            if isinstance(value, Tensor):
                predictions[name] = value.float()
        parts = self._loss(predictions, targets)
        return parts, predictions, self._loss.foreground


def count_macs(module: nn.Module, input_shape: tuple[int, int, int]) -> int:
    """Count the MACs of one input: those of the convolutions, which are all but a thousandth.

    Args:
        module: of `build_module`; it is left in eval mode.
        input_shape: channels, height, width.
    """
    image = torch.zeros(1, *input_shape, device=next(module.parameters()).device)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        module.eval()(image)
    return int(counter.get_total_flops()) // 2  # it counts a multiplication and an addition
