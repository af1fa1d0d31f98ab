"""Load the weights of YOLOv5's or ultralytics' makers: those that fit are taken, by name and shape."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from distill.detector.pickled_model import read_tensors
from distill.settings.structure import SCALES
from edge.core.errors import CheckpointError
from edge.core.files import file_digest

logger = logging.getLogger(__name__)

FIRST_CONVOLUTION = "model.0.conv.weight"
FIRST_CHANNELS = 64
"""Of the first convolution, before the width factor."""

LEAST_FRACTION = 0.1
"""If less of the parameters fits, the file is of another scale or network, and what fits is chance."""

MOST_NAMES = 6


@dataclass(frozen=True, slots=True)
class Transfer:
    """Say what became of the weights of a file.

    Attributes:
        taken: names that fit, other_shape: that are there with another shape, missing: that are not there.
        parameters: of the network; parameters_taken: of those, how many came from the file.
    """

    taken: tuple[str, ...]
    other_shape: tuple[str, ...]
    missing: tuple[str, ...]
    parameters: int
    parameters_taken: int

    @property
    def fraction(self) -> float:
        """Fraction of the network's parameters that came from the file."""
        return self.parameters_taken / max(1, self.parameters)

    def summary(self) -> str:
        """Say it in one line."""
        total = len(self.taken) + len(self.other_shape) + len(self.missing)
        line = f"{len(self.taken)} of {total} tensors taken, {100 * self.fraction:.1f} % of the parameters"
        for title, names in (("other shape", self.other_shape), ("missing", self.missing)):
            if names:
                more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
                line += f"; {title}: {len(names)} ({', '.join(names[:MOST_NAMES])}{more})"
        return line

    def record(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "taken": len(self.taken),
            "other_shape": list(self.other_shape),
            "missing": list(self.missing),
            "parameters": self.parameters,
            "parameters_taken": self.parameters_taken,
        }


def take_official_weights(
    module: nn.Module, path: Path, colour_order: Literal["grey", "bgr", "rgb"]
) -> dict[str, Any]:
    """Put the weights of a file such as yolov5s.pt or yolov5su.pt into a detector, as far as they fit.

    Args:
        module: of `build_module`; what does not fit stays as it is.
        path: a pickled model; its code is never run.
        colour_order: of the detector's input; the file's is RGB.
    Returns:
        What was done, as JSON values.
    Raises:
        CheckpointError: if the file cannot be read, asks for code to be run, or hardly anything fits.
    """
    theirs = read_tensors(path)
    fitting, transfer = matched(module.state_dict(), theirs, colour_order)
    if transfer.fraction < LEAST_FRACTION:
        raise CheckpointError(
            f"{path} does not fit this network: "
            f"{100 * transfer.fraction:.1f} % of the parameters are in it.",
            _other_scale(theirs),
        )
    for name, tensor in fitting.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: the weights '{name}' are not all finite.", "Copy it again.")
    return {"weights": str(path), "sha256": file_digest(path), **put(fitting, transfer, module, path)}


def put(fitting: Mapping[str, Tensor], transfer: Transfer, module: nn.Module, path: Path) -> dict[str, Any]:
    """Put what `matched` found into a detector, and say what that was.

    Returns:
        The transfer, as JSON values.
    """
    module.load_state_dict({**module.state_dict(), **fitting})
    logger.info("%s: %s", path, transfer.summary())
    return transfer.record()


def matched(
    ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], colour_order: Literal["grey", "bgr", "rgb"]
) -> tuple[dict[str, Tensor], Transfer]:
    """Match tensors by name and shape; counters of batches are left out.

    Returns:
        What to take, float32, and what became of each tensor.
    """
    fitting, other_shape, missing = {}, [], []
    wanted = {name: tensor for name, tensor in ours.items() if tensor.is_floating_point()}
    for name, tensor in wanted.items():
        candidate = theirs.get(name)
        if candidate is not None and name == FIRST_CONVOLUTION:
            candidate = _for_colours(candidate, tensor.shape[1], colour_order)
        if candidate is None:
            missing.append(name)
        elif candidate.shape != tensor.shape or not candidate.is_floating_point():
            other_shape.append(name)
        else:
            fitting[name] = candidate.float()
    transfer = Transfer(
        taken=tuple(fitting),
        other_shape=tuple(other_shape),
        missing=tuple(missing),
        parameters=sum(tensor.numel() for tensor in wanted.values()),
        parameters_taken=sum(tensor.numel() for tensor in fitting.values()),
    )
    return fitting, transfer


def _for_colours(weight: Tensor, channels: int, colour_order: str) -> Tensor:
    """Turn a first convolution for RGB to one for other colours.

    Grey is the same value on all three channels, which their sum answers as the three would. The other way
    round each channel has a third of the say.
    """
    if weight.ndim == 4 and (weight.shape[1], channels) == (1, 3):
        return weight.float().expand(-1, 3, -1, -1) / 3
    if weight.ndim != 4 or weight.shape[1] != 3:
        return weight
    if channels == 1:
        return weight.float().sum(dim=1, keepdim=True)
    return weight.flip(1) if colour_order == "bgr" else weight


def _other_scale(theirs: Mapping[str, Tensor]) -> str:
    first = theirs.get(FIRST_CONVOLUTION)
    for scale, (_, width, _) in SCALES.items():
        if first is not None and len(first) == FIRST_CHANNELS * width:
            return f"It looks like scale '{scale}': set that in the recipe, or name another file."
    return "Name weights of YOLOv5 v6 or later, of the recipe's scale."
