"""Search how many channels of each group stay: rounding, the target cost, and the last blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch

from distill.detector.channels import ChannelGraph
from distill.prune.costs import Costs, Counts
from distill.prune.importance import Scores
from edge.core.errors import ConfigError

ScopeName = Literal["global", "local"]

Wanted = Callable[[float], Sequence[float]]
"""From a ratio of channels to drop, 0 to 1, to how many of each group are to stay, before rounding."""

TOLERANCE = 0.02
"""A target is met if the cost is off by no more than this fraction of it."""

CLOSE_ENOUGH = 0.002
"""The last blocks are taken off until the cost is within this fraction of the target, if one fits."""

SEARCH_STEPS = 14
"""Halvings of the range of the ratio: finer than one channel in ten thousand."""


def rounded(wanted: float, size: int, round_to: int) -> int:
    """Return the nearest number of channels a layer may have: a multiple of the rounding, or all.

    Args:
        wanted: how many are to stay.
        size: how many there are; with no more than `round_to` all stay.
    """
    if wanted >= size or size <= round_to:
        return size
    below = max(int(wanted // round_to), 1) * round_to
    above = min(below + round_to, size)
    return above if above - wanted <= wanted - below else below


def one_block_less(count: int, round_to: int) -> int | None:
    """Return the next smaller number of channels; None if there is none."""
    less = (count - 1) // round_to * round_to
    return less or None


def wanted_at(graph: ChannelGraph, scores: Scores, scope: ScopeName) -> Wanted:
    """Return how many channels of each group are to stay at a ratio.

    With one threshold those below it go. It never passes the lowest of the groups' highest scores, so that
    no layer loses all its channels.
    """
    sizes = [group.size for group in graph.groups]
    if scope == "local":
        return lambda ratio: [
            size * (1 - ratio) if number in scores else size for number, size in enumerate(sizes)
        ]
    ranked = torch.cat([*scores.values()]).sort().values.tolist()
    ceiling = min(float(values.max()) for values in scores.values())

    def above_threshold(ratio: float) -> list[int]:
        threshold = min(ranked[min(int(ratio * len(ranked)), len(ranked) - 1)], ceiling)
        return [
            int((scores[number] >= threshold).sum()) if number in scores else size
            for number, size in enumerate(sizes)
        ]

    return above_threshold


def counts_for_macs(
    costs: Costs,
    scores: Scores,
    wanted_at: Wanted,
    target_fraction: float,
    scope: ScopeName,
    round_to: int,
) -> Counts:
    """Search how many channels stay so that a fraction of the MACs is left.

    The ratio is raised as far as the cost stays at or above the target, then single blocks are taken off:
    with one threshold, those of least score; with one fraction, those furthest above it.

    Raises:
        ConfigError: if the fraction is not in (0, 1] or out of reach.
    """
    whole = costs.macs(costs.whole)
    check_reachable(target_fraction, costs.macs(least_counts(costs, round_to)) / whole, round_to)
    target = target_fraction * whole

    def counts_at(ratio: float) -> Counts:
        wanted = wanted_at(ratio)
        return tuple(
            rounded(wanted[number], group.size, round_to) if group.prunable else group.size
            for number, group in enumerate(costs.graph.groups)
        )

    ratio = _highest_ratio(lambda ratio: costs.macs(counts_at(ratio)) >= target)
    wanted = wanted_at(ratio)

    def worth(group: int, count: int, less: int) -> float:
        if scope == "local":
            return (wanted[group] - less) / costs.graph.groups[group].size
        return block_score(scores, group, count, less) / (count - less)

    return trimmed(costs, counts_at(ratio), target, worth, round_to)


def trimmed(
    costs: Costs,
    counts: Counts,
    target: float,
    worth: Callable[[int, int, int], float],
    round_to: int,
) -> Counts:
    """Take single blocks off, those of least worth first, until the cost is close to the target.

    Args:
        target: MACs; no block is taken that leads further below it than `CLOSE_ENOUGH`, but for
            a last one that leads nearer to it than to stop would.
        worth: of a block, from group, channels before and channels after.
    """
    while (now := costs.macs(counts)) > target * (1 + CLOSE_ENOUGH):
        steps = [
            (one, costs.macs(one), (worth(*block), -block[1] / costs.whole[block[0]]))  # ties: the fullest
            for one, block in _smaller(costs, counts, round_to)
        ]
        fitting = [step for step in steps if step[1] >= target * (1 - CLOSE_ENOUGH)]
        if fitting:
            counts = min(fitting, key=lambda step: step[2])[0]
            continue
        nearest = min(steps, key=lambda step: abs(step[1] - target), default=None)
        if nearest is None or abs(nearest[1] - target) >= now - target:
            break
        return nearest[0]
    return counts


def block_score(scores: Scores, group: int, count: int, less: int) -> float:
    """Return the sum of the scores that go with a block, that of the lowest channels that are left."""
    ranked = scores[group].sort(descending=True).values
    return float(ranked[less:count].sum())


def least_counts(costs: Costs, round_to: int) -> Counts:
    """Return the fewest channels that the rounding permits."""
    return tuple(
        min(group.size, round_to) if group.prunable else group.size for group in costs.graph.groups
    )


def check_reachable(target_fraction: float, least_fraction: float, round_to: int) -> None:
    """See that a fraction can be met.

    Raises:
        ConfigError: if not.
    """
    if not 0 < target_fraction <= 1:
        raise ConfigError(
            f"A fraction of {target_fraction:g} cannot be kept.",
            "Name a fraction between 0 and 1, for instance 0.5.",
        )
    if target_fraction * (1 + TOLERANCE) < least_fraction:
        raise ConfigError(
            f"A fraction of {target_fraction:g} is out of reach: with {round_to} channels in every layer, "
            f"{least_fraction:.4f} remains.",
            f"Ask for {least_fraction:.4f} or more, or set a smaller rounding.",
        )


def _smaller(costs: Costs, counts: Counts, round_to: int) -> Iterator[tuple[Counts, tuple[int, int, int]]]:
    """Yield the counts with one block less, with group, channels before and after."""
    for number, group in enumerate(costs.graph.groups):
        less = one_block_less(counts[number], round_to) if group.prunable else None
        if less is not None:
            yield (*counts[:number], less, *counts[number + 1 :]), (number, counts[number], less)


def _highest_ratio(enough: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(SEARCH_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if enough(middle) else (low, middle)
    return low
