"""Plan by torch-pruning: it finds groups and importance instead of this package.

DepGraph (Fang et al., CVPR 2023) follows the gradients of one forward pass to see which channels depend on
which, and its group importance counts the weights that read a channel as well as those that make it. The
threshold, the rounding and the search are those of `plan`: torch-pruning's own step rounds down, so that it
overshoots, and leaves a layer whole all of whose channels lie below the threshold.
"""

from __future__ import annotations

import warnings
from copy import deepcopy
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from distill.detector.channels import ChannelGraph
from distill.prune.importance import ImportanceName, Scores, normalised


def depgraph_scores(
    module: nn.Module,
    graph: ChannelGraph,
    input_shape: tuple[int, int, int],
    importance: ImportanceName,
) -> Scores:
    """Score the channels of each prunable group by torch-pruning.

    Args:
        input_shape: channels, height, width.
    Raises:
        ValueError: if DepGraph finds other groups than `channel_graph`.
    """
    copy = deepcopy(module).eval()
    copy.requires_grad_(True)  # it follows gradients: without them it sees nothing
    dependencies = _dependencies(copy, torch.zeros(1, *input_shape, device=next(copy.parameters()).device))
    measure: Any = _measure(importance)
    ignored = _ignored(copy, graph)
    makers = {
        copy.get_submodule(one.name): one.outputs[0] for one in graph.convolutions if not one.depthwise
    }
    scores: dict[int, Tensor] = {}
    for group in dependencies.get_all_groups(ignored_layers=ignored, root_module_types=[nn.Conv2d]):
        makes = dependencies.is_out_channel_pruning_fn
        found = {makers[dep.layer] for dep, _ in group if dep.layer in makers and makes(dep.handler)}
        if len(found) != 1:
            raise ValueError(
                f"DepGraph ties {len(found)} groups of channels, of which each should be alone"
            )
        scores[found.pop()] = normalised(measure(group))
    prunable = {number for number, group in enumerate(graph.groups) if group.prunable}
    if set(scores) != prunable:
        raise ValueError(f"DepGraph finds {len(scores)} groups of channels, there are {len(prunable)}")
    return scores


def _dependencies(module: nn.Module, images: Tensor) -> Any:
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")  # of torch-pruning's own making
        return torch_pruning.DependencyGraph().build_dependency(module, example_inputs=images)


def _ignored(module: nn.Module, graph: ChannelGraph) -> list[nn.Module]:
    """Return the convolutions that are not to be pruned: the last ones, and those outside the graph."""
    prunable = {one.name for one in graph.prunable}
    return [
        layer
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d) and name not in prunable
    ]


def _measure(importance: ImportanceName) -> Any:
    if importance == "bn-scale":
        return torch_pruning.importance.BNScaleImportance()
    return torch_pruning.importance.GroupMagnitudeImportance(p=1)
