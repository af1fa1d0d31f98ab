"""Plan for a time in milliseconds: foretold from a table, then measured, and again if it is late."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from distill.checkpoint import Detector
from distill.prune.apply import cut
from distill.prune.channels import channel_graph
from distill.prune.costs import Costs, costs_of
from distill.prune.latency import measure_fit, plan_for_latency
from distill.prune.latency_table import LatencyTable, measure_table, read_table, write_table
from distill.prune.plan import PruningPlan
from distill.prune.runtimes import Floats
from distill.prune.settings import PruneSettings
from distill.prune.timing import PairedLatency, paired_latency
from edge.backends.probe import available_cores
from edge.errors import ConfigError

logger = logging.getLogger(__name__)

TRIES = 4
LATE = 1.02
"""A plan may take so many times its target: medians of one run differ by as much."""

ROUNDS = 40


class FastEnoughError(ConfigError):
    """A detector takes no longer than it may."""


def plan_for_time(
    detector: Detector, settings: PruneSettings, target_ms: float, table: Path, steps_left: int
) -> PruningPlan:
    """Choose channels so that the cut detector, measured, takes no longer than a time.

    Args:
        target_ms: after the last step; this one takes its share of the way.
        table: file of the times; it is measured where it is missing.
        steps_left: this one among them, from 1.
    Raises:
        FastEnoughError: if the detector is as fast already.
        ConfigError: if the time is out of reach.
        MissingPackageError, BackendError: if the runtime cannot be used.
    """
    times = _table(detector, settings, table)
    fit = measure_fit(detector.module, detector.checkpoint.structure, times, noise(detector), rounds=ROUNDS)
    whole_ms = fit.whole_ms
    if whole_ms <= target_ms:
        raise FastEnoughError(
            f"One input takes {whole_ms:.3f} ms on {settings.runtime} already.",
            f"Name less than that with --latency-ms, not {target_ms:g}.",
        )
    goal_ms = whole_ms * (target_ms / whole_ms) ** (1 / steps_left)
    aim_ms = goal_ms
    for _ in range(TRIES):
        plan = plan_for_latency(
            detector.module,
            detector.checkpoint.structure,
            times,
            aim_ms,
            fit=fit,
            input_size_hw_px=detector.contract.input_size_hw_px,
            options=settings.options,
        ).model_copy(update={"target_ms": goal_ms})
        now_ms = whole_ms / _timed(detector, _cut(detector, plan), settings).times_faster
        logger.info("%.3f ms before, %.3f wanted, %.3f measured", whole_ms, goal_ms, now_ms)
        if now_ms <= goal_ms * LATE:
            break
        aim_ms *= goal_ms / now_ms
    else:
        logger.warning("the plan takes %.3f ms, not %.3f: the runtime gives no more", now_ms, goal_ms)
    return plan


def threads_of(settings: PruneSettings) -> int:
    """Return how many threads an inference is timed with."""
    return settings.threads or available_cores()


def noise(detector: Detector, pictures: int = 4) -> Floats:
    """Return inputs to time a detector on: (pictures, channels, H, W) in [0, 1)."""
    contract = detector.contract
    shape = (pictures, contract.channels, *contract.input_size_hw_px)
    return np.random.default_rng(0).random(shape, np.float32)


def _table(detector: Detector, settings: PruneSettings, file: Path) -> LatencyTable:
    """Return the times of the detector's convolutions: those of the file, if they are such."""
    shape = (detector.contract.channels, *detector.contract.input_size_hw_px)
    costs = costs_of(detector.module, channel_graph(detector.module), shape)
    known = _known_table(file, costs)
    wanted = (settings.runtime, threads_of(settings), settings.options.round_to)
    if known is not None and (known.runtime, known.threads, known.round_to) == wanted:
        return known
    runtime, threads, round_to = wanted
    table = measure_table(costs, runtime=runtime, threads=threads, round_to=round_to)
    write_table(table, file)
    return table


def _known_table(file: Path, costs: Costs) -> LatencyTable | None:
    try:
        table = read_table(file)
        table.lookup(costs)
    except ConfigError:
        return None
    return table


def _timed(before: Detector, after: Detector, settings: PruneSettings) -> PairedLatency:
    return paired_latency(
        before.module,
        after.module,
        noise(before),
        runtime=settings.runtime,
        threads=threads_of(settings),
        rounds=ROUNDS,
    )


def _cut(detector: Detector, plan: PruningPlan) -> Detector:
    module, _ = cut(detector.module, detector.checkpoint.structure, plan)
    return Detector(module, detector.contract, detector.checkpoint, detector.file_digest)
