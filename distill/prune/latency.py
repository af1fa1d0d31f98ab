"""A plan by measured time: what costs most milliseconds for the least importance goes first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from distill.detector.structure import DetectorStructure
from distill.prune.apply import cut
from distill.prune.channels import Convolution, channel_graph
from distill.prune.costs import Costs, Counts, channels_of, costs_of
from distill.prune.importance import Scores, group_scores
from distill.prune.latency_table import LatencyTable, ShapeTimes, against_reference
from distill.prune.plan import PlanOptions, PruningPlan, plan_of_counts
from distill.prune.runtimes import Floats, runtime_of
from distill.prune.search import one_block_less, rounded
from distill.prune.timing import detector_run
from edge.errors import ConfigError

BLOCKS_AHEAD = 4
"""A layer's time can be level for a block and fall behind it: so many blocks at once are weighed."""

LEAST_SAVING_MS = 1e-9


class Fit(BaseModel):
    """Say how the time of a whole detector follows from the sum of its convolutions' times.

    Attributes:
        whole_ms: of the detector as it is, measured; on a box as busy as it was for the table.
        scale, rest_ms: what the sum is multiplied by, and what is added.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    whole_ms: float = Field(gt=0)
    scale: float = Field(gt=0)
    rest_ms: float = Field(ge=0)


@dataclass(frozen=True, slots=True)
class Prediction:
    """Foretell the time of a detector at any widths from a table."""

    costs: Costs
    times: dict[str, ShapeTimes]
    scale: float = 1.0
    rest_ms: float = 0.0
    _known: dict[tuple[str, int, int], float] = field(default_factory=dict)

    def ms(self, counts: Counts) -> float:
        """Return milliseconds of one inference."""
        return self.rest_ms + sum(self.layer_ms(one, counts) for one in self.costs.graph.convolutions)

    def layer_ms(self, one: Convolution, counts: Counts) -> float:
        """Return milliseconds of a convolution, and of what goes with it."""
        key = one.name, channels_of(one.inputs, counts), channels_of(one.outputs, counts)
        if key not in self._known:
            self._known[key] = self.scale * self.times[one.name].at(*key[1:])
        return self._known[key]


def measure_fit(
    module: nn.Module,
    structure: DetectorStructure,
    table: LatencyTable,
    images_nchw: Floats,
    *,
    rounds: int = 30,
) -> Fit:
    """Time a detector, and one of half its channels, against the table: two points make a line.

    Alone the convolutions know nothing of Concat, pooling and decoding, nor of a cache that others fill.

    Args:
        module: of `build_module`, on the processor; it is left as it is.
        images_nchw: (N, channels, H, W) float32, real tiles where there are some.
    Raises:
        ConfigError: if the table is of another detector or input size.
        MissingPackageError, BackendError: if the table's runtime cannot be used.
    """
    size_hw_px = images_nchw.shape[2], images_nchw.shape[3]
    graph = channel_graph(module)
    costs = costs_of(module, graph, (structure.channels, *size_hw_px))
    bare = Prediction(costs, table.lookup(costs))
    counts = tuple(
        rounded(group.size / 2, group.size, table.round_to) if group.prunable else group.size
        for group in graph.groups
    )
    scores = group_scores(module, graph, "l1")
    options = PlanOptions()
    plan = plan_of_counts(
        module, costs, scores, counts, planner="latency", options=options, input_size_hw_px=size_hw_px
    )
    half, _ = cut(module, structure, plan)
    on = runtime_of(table.runtime, table.threads)
    runs = [detector_run(on, one, images_nchw) for one in (module, half)]
    whole_ms, half_ms = (float(one) * table.reference_ms for one in against_reference(on, runs, rounds))
    return fitted((bare.ms(costs.whole), whole_ms), (bare.ms(counts), half_ms))


def fitted(whole: tuple[float, float], half: tuple[float, float]) -> Fit:
    """Draw a line through two pairs of sum and measured time.

    It passes through 0 and the first pair where it would otherwise fall, or begin below 0.
    """
    (sum_ms, whole_ms), (half_sum_ms, half_ms) = whole, half
    proportional = whole_ms / max(sum_ms, 1e-9)
    if half_sum_ms >= sum_ms or half_ms >= whole_ms:
        return Fit(whole_ms=whole_ms, scale=proportional, rest_ms=0.0)
    scale = min((whole_ms - half_ms) / (sum_ms - half_sum_ms), proportional)
    return Fit(whole_ms=whole_ms, scale=scale, rest_ms=max(whole_ms - scale * sum_ms, 0.0))


def plan_for_latency(
    module: nn.Module,
    structure: DetectorStructure,
    table: LatencyTable,
    target_ms: float,
    *,
    fit: Fit,
    input_size_hw_px: tuple[int, int],
    options: PlanOptions | None = None,
) -> PruningPlan:
    """Choose channels so that one inference takes no longer than a time, by what the table foretells.

    Blocks of channels go one after the other, that of the least importance for each millisecond saved
    first. The scope of the options has no say.

    Args:
        module: of `build_module`; it is left as it is.
        table: of `measure_table`, for this detector's convolutions.
        target_ms: a share of it is that share of `fit.whole_ms`.
        fit: of `measure_fit`.
    Raises:
        ConfigError: if the time is out of reach, or the table is of another detector or rounding.
    """
    options = options or PlanOptions()
    if table.round_to > options.round_to:
        raise ConfigError(
            f"The latency table was measured for channels by {table.round_to}, not by {options.round_to}.",
            "Measure it anew, or set the rounding it was measured for.",
        )
    graph = channel_graph(module)
    costs = costs_of(module, graph, (structure.channels, *input_size_hw_px))
    scores = group_scores(module, graph, options.importance)
    prediction = Prediction(costs, table.lookup(costs), fit.scale, fit.rest_ms)
    counts = _fast_enough(prediction, scores, target_ms, options.round_to)
    return plan_of_counts(
        module,
        costs,
        scores,
        counts,
        planner="latency",
        options=options,
        input_size_hw_px=input_size_hw_px,
        target_ms=target_ms,
    )


def _fast_enough(prediction: Prediction, scores: Scores, target_ms: float, round_to: int) -> Counts:
    touching = _touching(prediction.costs)
    lost = _losses(scores)
    counts = prediction.costs.whole
    while (now_ms := prediction.ms(counts)) > target_ms:
        best = min(
            _steps(prediction, counts, touching, round_to),
            key=lambda step: lost(step.group, counts[step.group], step.less) / step.saved_ms,
            default=None,
        )
        if best is None:
            raise ConfigError(
                f"{target_ms:g} ms are out of reach: with channels in steps of {round_to} the least is "
                f"{now_ms:.3f} ms.",
                f"Ask for {now_ms:.3f} ms or more, or set a smaller rounding.",
            )
        counts = best.counts
    return counts


@dataclass(frozen=True, slots=True)
class _Step:
    """Describe channels of a group that could go next."""

    group: int
    less: int
    counts: Counts
    saved_ms: float


def _steps(
    prediction: Prediction, counts: Counts, touching: dict[int, list[Convolution]], round_to: int
) -> Iterator[_Step]:
    """Yield what could go next and saves time: fewer channels are not always faster."""
    for group, layers in touching.items():
        now_ms = sum(prediction.layer_ms(one, counts) for one in layers)
        less: int | None = counts[group]
        for _ in range(BLOCKS_AHEAD):
            less = one_block_less(less, round_to) if less is not None else None
            if less is None:
                break
            fewer = (*counts[:group], less, *counts[group + 1 :])
            saved_ms = now_ms - sum(prediction.layer_ms(one, fewer) for one in layers)
            if saved_ms > LEAST_SAVING_MS:
                yield _Step(group, less, fewer, saved_ms)


def _touching(costs: Costs) -> dict[int, list[Convolution]]:
    """Return for each prunable group the convolutions whose time depends on it."""
    graph = costs.graph
    return {
        number: [one for one in graph.convolutions if number in (*one.inputs, *one.outputs)]
        for number, group in enumerate(graph.groups)
        if group.prunable
    }


def _losses(scores: Scores) -> Callable[[int, int, int], float]:
    """Return a function from group, channels before and after to the importance that goes."""
    sums = {
        group: [0.0, *values.sort(descending=True).values.cumsum(0).tolist()]
        for group, values in scores.items()
    }
    return lambda group, count, less: sums[group][count] - sums[group][less]
