"""Define a pruning plan: the channels that stay. It can be kept, compared and carried out again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field, ValidationError, model_validator
from torch import nn
from typing_extensions import Self

from distill.checkpoint import weights_digest
from distill.core.value import Value
from distill.detector.channels import ChannelGraph, channel_graph
from distill.prune.costs import costs_of
from distill.prune.depgraph import depgraph_scores
from distill.prune.importance import ImportanceName, Scores, group_scores
from distill.prune.search import ScopeName, counts_for_macs, wanted_at
from distill.settings.structure import DetectorStructure
from edge.core.errors import ConfigError
from edge.core.files import write_whole
from edge.core.outside_files import SETTINGS_BYTES, read_bytes

PlannerName = Literal["threshold", "depgraph"]
Rounding = Literal[8, 16, 32]


class PlanOptions(Value):
    """Say how channels are chosen.

    Attributes:
        importance: what is measured of a channel.
        scope: `global`, one threshold for all layers; `local`, the same fraction of each.
        round_to: the channels that stay are a multiple of it, or all.
    """

    importance: ImportanceName = "l1"
    scope: ScopeName = "global"
    round_to: Rounding = 16


class PruningPlan(Value):
    """Say which output channels of which convolution stay, and how that was chosen.

    Attributes:
        target_macs_share: of the MACs before, where that was asked for.
        target_ms: milliseconds for one input, where that was asked for.
        source_digest: `weights_digest` of the detector it was made for.
        input_size_hw_px: of the input that the MACs are counted for.
        macs_before, macs, parameters: without the plan and with it.
        kept: for each convolution that can lose channels, the numbers of those that stay, ascending.
    """

    planner: PlannerName
    options: PlanOptions
    target_macs_share: float | None = None
    target_ms: float | None = None
    source_digest: str
    input_size_hw_px: tuple[int, int]
    macs_before: int
    macs: int
    parameters: int
    kept: dict[str, Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]]

    @property
    def macs_share(self) -> float:
        """Return the MACs that stay, as a fraction."""
        return self.macs / self.macs_before

    @model_validator(mode="after")
    def _keeps_each_channel_once(self) -> Self:
        for name, channels in self.kept.items():
            if any(b <= a for a, b in pairwise(channels)):
                raise ValueError(f"the channels kept of {name} are not in ascending order")
        return self


def plan_for_macs(
    module: nn.Module,
    structure: DetectorStructure,
    target_fraction: float,
    *,
    input_size_hw_px: tuple[int, int],
    options: PlanOptions | None = None,
    planner: PlannerName = "threshold",
    known_scores: dict[tuple[PlannerName, ImportanceName], Scores] | None = None,
) -> PruningPlan:
    """Choose channels so that a fraction of the MACs is left.

    Args:
        module: of `build_module`; it is left as it is.
        target_fraction: in (0, 1]; met within 2 % where the rounding permits.
        planner: who says which channels depend on each other and scores them: this package, or DepGraph.
        known_scores: of this module, by planner and importance; those that are missing are added.
    Raises:
        ConfigError: if the fraction is out of reach; the message says the least.
        ValueError: if DepGraph finds other groups than `channel_graph`.
    """
    options = options or PlanOptions()
    graph = channel_graph(module)
    input_shape = (structure.channels, *input_size_hw_px)
    costs = costs_of(module, graph, input_shape)
    known = {} if known_scores is None else known_scores
    by = planner, options.importance
    if by not in known:
        known[by] = (
            depgraph_scores(module, graph, input_shape, options.importance)
            if planner == "depgraph"
            else group_scores(module, graph, options.importance)
        )
    scores = known[by]
    wanted = wanted_at(graph, scores, options.scope)
    counts = counts_for_macs(costs, scores, wanted, target_fraction, options.scope, options.round_to)
    kept = tuple(
        _best(scores[number], count) if number in scores else tuple(range(count))
        for number, count in enumerate(counts)
    )
    return PruningPlan(
        planner=planner,
        options=options,
        target_macs_share=target_fraction,
        source_digest=weights_digest(module.state_dict()),
        input_size_hw_px=input_size_hw_px,
        macs_before=costs.macs(costs.whole),
        macs=costs.macs(counts),
        parameters=costs.parameters(counts),
        kept={one.name: joined(graph, one.outputs, kept) for one in graph.prunable},
    )


def joined(
    graph: ChannelGraph, groups: Sequence[int], kept_of_groups: Sequence[Sequence[int]]
) -> tuple[int, ...]:
    """Return the channels that stay in a map made of groups, numbered as in the whole map."""
    starts = accumulate((graph.groups[group].size for group in groups), initial=0)
    return tuple(
        start + channel
        for start, group in zip(starts, groups, strict=False)
        for channel in kept_of_groups[group]
    )


def write_plan(plan: PruningPlan, file: Path) -> None:
    """Write a plan as JSON.

    Raises:
        OutputError: if it cannot be written.
    """
    write_whole(file, plan.model_dump_json(indent=1).encode())


def read_plan(file: Path) -> PruningPlan:
    """Read a plan.

    Raises:
        ConfigError: if the file is missing or holds no plan.
    """
    cure = "Name a plan made by `prune`."
    try:
        return PruningPlan.model_validate_json(read_bytes(file, SETTINGS_BYTES, ConfigError, cure))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(f"{file} is not a pruning plan: {where}: {first['msg']}.", cure) from error


def _best(scores: torch.Tensor, count: int) -> tuple[int, ...]:
    """Return the numbers of the highest scores, ascending; of equal ones, the first."""
    order = torch.sort(scores, descending=True, stable=True).indices
    return tuple(sorted(order[:count].tolist()))
