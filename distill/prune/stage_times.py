"""Time one input at each stage of a pruning, all in turn in one run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from rich.console import Console

from distill.checkpoint import load_detector
from distill.core.value import Value
from distill.prune.latency import threads_of
from distill.prune.settings import PruneSettings
from distill.prune.timing import detector_run, interleaved_ms
from edge.backends.probe import processor_name
from edge.backends.protocol import Floats
from edge.backends.registry import BackendName
from edge.core.counted import counted
from edge.process.other_load import BUSY_CORES, OtherLoad, busy_words

ROUNDS = 60

DIGITS = 2
"""Behind the point, of milliseconds and of ratios."""


class StageTimes(Value):
    """Hold the times of detectors that were run in turn.

    Attributes:
        ms: of one input, by stage: the median of the first one, and for the others that divided by the
            median of the ratios of neighbouring runs, free of what else the device did meanwhile.
        times_faster: than the first stage: the ratio of `ms`, as both are printed.
        rounds: runs of each.
        other_load_cores: how many cores other processes kept busy meanwhile; None where that is not known.
    """

    runtime: BackendName
    version: str
    processor: str
    threads: int
    rounds: int
    other_load_cores: float | None = None
    ms: dict[str, float]
    times_faster: dict[str, float]


def time_stages(files: Mapping[str, Path], settings: PruneSettings, images_nchw: Floats) -> StageTimes:
    """Time checkpoints on the runtime of the settings, one input at a time.

    Args:
        files: by stage, the unpruned one first.
        images_nchw: (N, channels, H, W) float32; they take turns.
    Raises:
        ImportError, BackendError: if the runtime cannot be used.
    """
    threads = threads_of(settings)
    with ExitStack() as stack:
        timed = [
            stack.enter_context(
                detector_run(settings.runtime, threads, one.module, one.contract, images_nchw)
            )
            for one in map(load_detector, files.values())
        ]
        with OtherLoad() as others:
            times = interleaved_ms([one.run for one in timed], ROUNDS)
    ratios = np.median(times[:, :1] / times, axis=0)
    shown_ms = [round(float(value), DIGITS) for value in np.median(times[:, 0]) / ratios]
    return StageTimes(
        runtime=settings.runtime,
        version=timed[0].version,
        processor=processor_name(),
        threads=threads,
        rounds=ROUNDS,
        other_load_cores=others.cores,
        ms=dict(zip(files, shown_ms, strict=True)),
        times_faster={
            stage: round(shown_ms[0] / ms, DIGITS) if ms else 1.0
            for stage, ms in zip(files, shown_ms, strict=True)
        },
    )


def read_times(file: Path) -> StageTimes:
    """Read what `time_stages` gave."""
    return StageTimes.model_validate_json(file.read_bytes())


def print_times(times: StageTimes, console: Console) -> None:
    """Print a line for each stage."""
    console.print(
        f"one input on {times.runtime} {times.version}, {counted(times.threads, 'thread')}", highlight=False
    )
    for stage, ms in times.ms.items():
        faster = times.times_faster[stage]
        console.print(f" {stage:<13} {ms:8.2f} ms   {faster:.2f} times as fast", highlight=False)
    if (times.other_load_cores or 0) > BUSY_CORES:
        warning = f"warning: {busy_words(times.other_load_cores or 0)}"
        console.print(warning, highlight=False, soft_wrap=True, markup=False)
