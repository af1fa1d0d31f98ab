"""Proof that a detector was cut as planned, before anyone trains or exports it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from distill.checkpoint import Checkpoint, load_detector, write_checkpoint
from distill.detector.build import count_macs
from distill.detector.structure import DetectorStructure
from distill.prune.apply import masked
from distill.prune.plan import PruningPlan
from edge.contract import ModelContract
from edge.errors import PruningError

TOLERANCE = 1e-5
"""Sums of float32 in another order differ by less; a channel cut that was not silent, or one kept in the
wrong place, by far more."""

PICTURES = 2


class CutCheck(BaseModel):
    """Say what was found of a cut detector: all as planned.

    Attributes:
        largest_difference: between the raw outputs of the masked and of the cut detector, as a share of the
            greatest output, or absolute where that is below 1.
        macs, parameters: counted in the cut detector.
        reloaded: written, read back and run again, it gave the same bits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    largest_difference: float
    macs_before: int
    macs: int
    parameters_before: int
    parameters: int
    reloaded: bool


def check_cut(
    module: nn.Module,
    plan: PruningPlan,
    cut_module: nn.Module,
    cut_structure: DetectorStructure,
    contract: ModelContract,
) -> CutCheck:
    """Compare a cut detector with the masked one, with its plan, and with itself read back.

    Args:
        module: before the cut; both are left as they are.
        contract: as in the checkpoint that is going to be written.
    Raises:
        PruningError: if any of it differs.
        ConfigError: if the plan is not one for `module`.
    """
    images = _pictures(cut_structure.channels, plan.input_size_hw_px)
    smaller = _run(cut_module, images)
    difference = _difference(_run(masked(module, plan), images), smaller)
    if not difference <= TOLERANCE:
        raise PruningError(
            f"The cut detector is off the masked one by {difference:.3g}; permitted is {TOLERANCE:g}.",
            "Nothing was written; report this with the plan.",
        )
    macs = count_macs(deepcopy(cut_module), (cut_structure.channels, *plan.input_size_hw_px))
    parameters = _parameters(cut_module)
    _check_planned("multiplications", macs, plan.macs)
    _check_planned("parameters", parameters, plan.parameters)
    again = _reloaded(cut_module, cut_structure, contract)
    if not all(torch.equal(a, b) for a, b in zip(smaller, _run(again, images), strict=True)):
        raise PruningError(
            "The cut detector says something else after it was written and read back.",
            "Nothing was written; report this with the plan.",
        )
    return CutCheck(
        largest_difference=difference,
        macs_before=plan.macs_before,
        macs=macs,
        parameters_before=_parameters(module),
        parameters=parameters,
        reloaded=True,
    )


def _pictures(channels: int, size_hw_px: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(PICTURES, channels, *size_hw_px, generator=generator)


def _run(module: nn.Module, images: Tensor) -> list[Tensor]:
    """Return the raw outputs, on the processor, in float32."""
    copy = deepcopy(module).cpu().float().eval()
    with torch.inference_mode():
        return list(_tensors(copy(images)))


def _tensors(outputs: Any) -> Iterator[Tensor]:
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, Mapping):
        for name, value in outputs.items():
            if name != "feats":  # the neck's maps, which have fewer channels
                yield from _tensors(value)
    elif isinstance(outputs, (list, tuple)):
        for value in outputs:
            yield from _tensors(value)


def _difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    return max(
        float((a - b).abs().max()) / max(1.0, float(a.abs().max()))
        for a, b in zip(ours, theirs, strict=True)
    )


def _check_planned(what: str, found: int, planned: int) -> None:
    if found != planned:
        raise PruningError(
            f"The cut detector has {found:,} {what}; planned were {planned:,}.",
            "Use the plan with the detector it was made for.",
        )


def _parameters(module: nn.Module) -> int:
    return sum(tensor.numel() for tensor in module.parameters())


def _reloaded(module: nn.Module, structure: DetectorStructure, contract: ModelContract) -> nn.Module:
    with tempfile.TemporaryDirectory(prefix="loomsight-prune-") as folder:
        file = Path(folder) / "cut.pt"
        write_checkpoint(file, Checkpoint(structure, module.state_dict(), contract))
        return load_detector(file).module
