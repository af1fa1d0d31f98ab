"""Plan for a time in milliseconds: whole detectors are cut at several widths and timed.

What fits the time is searched for each rounding of channels, because a runtime computes channels in blocks:
at the same speed one rounding keeps more of a detector than another. Times of single layers are not used:
alone, a layer costs what it does not cost inside a network
(docs/decisions/0007-whole-detectors-are-timed.md).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import numpy as np
from pydantic import Field
from torch import nn

from distill.checkpoint import Detector
from distill.core.value import Value
from distill.detector.channels import channel_graph
from distill.prune.apply import cut
from distill.prune.costs import costs_of
from distill.prune.plan import PruningPlan, Rounding, plan_for_macs
from distill.prune.search import least_counts
from distill.prune.settings import PlanChoice, PruneSettings
from distill.prune.timing import Timed, detector_run, interleaved_ms
from edge.backends.probe import available_cores, processor_name
from edge.backends.protocol import Floats
from edge.backends.registry import BackendName
from edge.core.errors import ConfigError
from edge.core.files import write_whole

logger = logging.getLogger(__name__)

ROUNDINGS: tuple[Rounding, ...] = (8, 16, 32)

TRIES = 5
LATE, EARLY = 1.02, 0.98
"""A plan may take so many times its target: medians of one run differ by as much."""

LEAST_SAVING = 0.1
"""A cut is taken to save so much of the time, at least, where the next one is guessed from it."""

ROUNDS = 40


class FastEnoughError(ConfigError):
    """A detector takes no longer than it may."""


class TimedWidths(Value):
    """Hold the time that one input takes at some widths.

    Attributes:
        round_to: channels are multiples of it.
        macs_share: of the MACs that stay.
        ms: measured in turn with the uncut detector.
    """

    round_to: Rounding
    macs_share: float
    ms: float


class LatencyTable(Value):
    """Hold all that was timed for a plan, on one runtime of one box.

    Attributes:
        threads: for one inference.
        whole_ms: of the uncut detector; `goal_ms` is what the plan was to reach.
        candidates: in the order they were tried.
    """

    runtime: BackendName
    processor: str
    threads: int
    whole_ms: float = Field(gt=0)
    goal_ms: float = Field(gt=0)
    candidates: tuple[TimedWidths, ...]


def plans_for_time(
    detector: Detector, settings: PruneSettings, target_ms: float, table: Path, steps_left: int
) -> tuple[PruningPlan, ...]:
    """Choose channels so that the cut detector, measured, takes no longer than a time.

    The rounding of the settings and the coarser ones are tried; of each, the plan with the most MACs left
    is returned, of all of them first that with the most.

    Args:
        target_ms: after the last step; this one takes its fraction of the way.
        table: file that gets the times of all that was tried.
        steps_left: this one among them, from 1.
    Raises:
        FastEnoughError: if the detector is as fast already.
        ConfigError: if the time is out of reach.
        ImportError, BackendError: if the runtime cannot be used.
        OutputError: if the table cannot be written.
    """
    with ExitStack() as stack:
        clock = _Clock(detector, settings, stack)
        whole_ms, goal_ms, tried = _tried(detector, settings, clock, target_ms, steps_left)
    fitting = [plan for plan, ms in tried if ms <= goal_ms * LATE]
    if not fitting:
        least_ms = min(ms for _, ms in tried)
        raise ConfigError(
            f"{goal_ms:g} ms are out of reach: the least is {least_ms:.3f} ms, of {whole_ms:.3f}.",
            f"Ask for {least_ms:.3f} ms or more, or set a smaller rounding.",
        )
    _write_table(table, settings, whole_ms, goal_ms, tried)
    by_rounding = {plan.options.round_to: plan for plan in sorted(fitting, key=lambda plan: plan.macs)}
    return tuple(
        plan.model_copy(update={"target_macs_share": None, "target_ms": goal_ms})
        for plan in sorted(by_rounding.values(), key=lambda plan: -plan.macs)
    )


def _tried(
    detector: Detector, settings: PruneSettings, clock: _Clock, target_ms: float, steps_left: int
) -> tuple[float, float, list[tuple[PruningPlan, float]]]:
    """Return the time of the uncut detector, the one to be reached, and all plans with their times."""
    whole_ms = clock.whole_ms
    if whole_ms <= target_ms:
        raise FastEnoughError(
            f"One input takes {whole_ms:.3f} ms on {settings.runtime} already.",
            f"Name less than that with --latency-ms, not {target_ms:g}.",
        )
    goal_ms = whole_ms * (target_ms / whole_ms) ** (1 / steps_left)
    tried: list[tuple[PruningPlan, float]] = []
    choice = settings.choices()[0]
    for round_to in (one for one in ROUNDINGS if one >= choice.options.round_to):
        for plan, ms in _approach(detector, choice, clock, round_to, goal_ms):
            logger.info(
                "%.3f ms with %.3f of the MACs, channels by %d; %.3f wanted",
                ms, plan.macs_share, round_to, goal_ms,
            )  # fmt: skip
            tried.append((plan, ms))
    return whole_ms, goal_ms, tried


def threads_of(settings: PruneSettings) -> int:
    """Return how many threads an inference is timed with."""
    return settings.threads or available_cores()


def noise(detector: Detector, images: int = 4) -> Floats:
    """Return inputs to time a detector on: (images, channels, H, W) in [0, 1)."""
    contract = detector.contract
    shape = (images, contract.channels, *contract.input_size_hw_px)
    return np.random.default_rng(0).random(shape, np.float32)


class _Clock:
    """Time cut detectors in turn with the uncut one.

    Args:
        stack: closes the uncut one.
    Attributes:
        whole_ms: of the uncut one, median.
    """

    def __init__(self, detector: Detector, settings: PruneSettings, stack: ExitStack) -> None:
        self._contract, self._settings = detector.contract, settings
        self._images = noise(detector)
        self._whole = stack.enter_context(self._timed(detector.module)).run
        self.whole_ms = float(np.median(interleaved_ms([self._whole], ROUNDS)))

    def ms_of(self, module: nn.Module) -> float:
        """Return milliseconds of one input, free of what else the box did meanwhile."""
        with self._timed(module) as timed:
            times = interleaved_ms([self._whole, timed.run], ROUNDS)
        return self.whole_ms * float(np.median(times[:, 1] / times[:, 0]))

    def _timed(self, module: nn.Module) -> AbstractContextManager[Timed]:
        runtime, threads = self._settings.runtime, threads_of(self._settings)
        return detector_run(runtime, threads, module, self._contract, self._images)


def _approach(
    detector: Detector, choice: PlanChoice, clock: _Clock, round_to: Rounding, goal_ms: float
) -> Iterator[tuple[PruningPlan, float]]:
    """Yield plans with one rounding and their times, nearer and nearer to the goal."""
    least = _least_fraction(detector, round_to)
    late = (1.0, clock.whole_ms)
    early: tuple[float, float] | None = None
    fraction = max(goal_ms / clock.whole_ms, least)
    for _ in range(TRIES):
        plan = plan_for_macs(
            detector.module,
            detector.checkpoint.structure,
            fraction,
            input_size_hw_px=detector.contract.input_size_hw_px,
            options=choice.options.model_copy(update={"round_to": round_to}),
            planner=choice.planner,
        )
        ms = clock.ms_of(cut(detector.module, detector.checkpoint.structure, plan)[0])
        yield plan, ms
        if EARLY * goal_ms <= ms <= LATE * goal_ms or (ms > goal_ms and fraction <= least):
            return
        if ms > goal_ms:
            late = plan.macs_share, ms
        else:
            early = plan.macs_share, ms
        fraction = max(_share_between(early or _further(late, clock.whole_ms), late, goal_ms), least)


def _further(late: tuple[float, float], whole_ms: float) -> tuple[float, float]:
    """Guess fraction and time of a smaller detector than one that is late: a line through it and the
    whole."""
    fraction, ms = late
    per_share_ms = max(whole_ms - ms, LEAST_SAVING * whole_ms) / max(1 - fraction, LEAST_SAVING)
    return 0.0, ms - fraction * per_share_ms


def _share_between(early: tuple[float, float], late: tuple[float, float], goal_ms: float) -> float:
    """Return the fraction at which a line through two fractions and times reaches the goal."""
    return float(np.interp(goal_ms, [early[1], late[1]], [early[0], late[0]]))


def _least_fraction(detector: Detector, round_to: Rounding) -> float:
    shape = (detector.contract.channels, *detector.contract.input_size_hw_px)
    costs = costs_of(detector.module, channel_graph(detector.module), shape)
    return costs.macs(least_counts(costs, round_to)) / costs.macs(costs.whole)


def _write_table(
    file: Path,
    settings: PruneSettings,
    whole_ms: float,
    goal_ms: float,
    tried: Sequence[tuple[PruningPlan, float]],
) -> None:
    candidates = tuple(
        TimedWidths(round_to=plan.options.round_to, macs_share=round(plan.macs_share, 4), ms=round(ms, 4))
        for plan, ms in tried
    )
    table = LatencyTable(
        runtime=settings.runtime,
        processor=processor_name(),
        threads=threads_of(settings),
        whole_ms=whole_ms,
        goal_ms=goal_ms,
        candidates=candidates,
    )
    write_whole(file, table.model_dump_json(indent=1).encode())
