"""Check that a detector was cut as planned, before anyone trains or exports it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from distill.checkpoint import Checkpoint, load_detector, write_checkpoint
from distill.core.value import Value
from distill.detector.build import count_macs, infer
from distill.detector.channels import channel_graph
from distill.prune.apply import groups_kept, masked
from distill.prune.plan import PruningPlan, joined
from distill.settings.structure import DetectorStructure
from edge.core.contract import ModelContract
from edge.core.errors import PruningError

TOLERANCE = 1e-4
"""Sums of float32 in another order differ by less, whatever processor adds them up; a channel cut that was
not silent, or one kept in the wrong place, differs by far more."""

IMAGES = 2


class CutCheck(Value):
    """Say what was found of a cut detector: all as planned.

    Attributes:
        largest_difference: between what a convolution of the masked detector says and what it says in the
            cut one, as a fraction of the greatest it says; the worst of all convolutions, the last
            included.
        macs, parameters: counted in the cut detector.
        reloaded: written, read back and run again, it gave the same bits.
    """

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
    images = _images(cut_structure.channels, plan.input_size_hw_px)
    difference = _difference(module, plan, cut_module, images)
    if not difference <= TOLERANCE:
        raise PruningError(
            f"The cut detector is off the masked one by {difference:.3g}; permitted is {TOLERANCE:g}.",
            "Nothing was written; report this with the plan.",
        )
    macs = count_macs(_plain_copy(cut_module), (cut_structure.channels, *plan.input_size_hw_px))
    parameters = _parameters(cut_module)
    _check_planned("MACs", macs, plan.macs)
    _check_planned("parameters", parameters, plan.parameters)
    again = _reloaded(cut_module, cut_structure, contract)
    if not all(
        torch.equal(a, b) for a, b in zip(_run(cut_module, images), _run(again, images), strict=True)
    ):
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


def _images(channels: int, size_hw_px: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(IMAGES, channels, *size_hw_px, generator=generator)


def _difference(module: nn.Module, plan: PruningPlan, cut_module: nn.Module, images: Tensor) -> float:
    """Compare all convolutions, not only the last: much of a mistake can be lost on the way."""
    graph = channel_graph(module)
    kept = groups_kept(graph, plan)
    names = [one.name for one in graph.convolutions]
    silenced, smaller = _said(masked(module, plan), names, images), _said(cut_module, names, images)
    worst = 0.0
    for one in graph.convolutions:
        ours, theirs = silenced[one.name][:, list(joined(graph, one.outputs, kept))], smaller[one.name]
        if ours.shape != theirs.shape:
            raise PruningError(
                f"The cut detector's {one.name} gives {tuple(theirs.shape)}, planned was "
                f"{tuple(ours.shape)}.",
                "Use the plan with the detector it was made for.",
            )
        greatest = max(float(ours.abs().max()), torch.finfo(torch.float32).tiny)
        worst = max(worst, float((ours - theirs).abs().max()) / greatest)
    return worst


def _said(module: nn.Module, names: Sequence[str], images: Tensor) -> dict[str, Tensor]:
    """Return what each of the convolutions named says of the images."""
    copy = _plain_copy(module)
    said: dict[str, Tensor] = {}
    for name in names:

        def note(_layer: nn.Module, _inputs: object, output: Tensor, name: str = name) -> None:
            said[name] = output

        copy.get_submodule(name).register_forward_hook(note)
    with torch.inference_mode():
        copy(images)
    return said


def _run(module: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        return infer(_plain_copy(module), images)


def _plain_copy(module: nn.Module) -> nn.Module:
    """Copy a detector to the processor, in float32 and eval mode."""
    return deepcopy(module).cpu().float().eval()


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
