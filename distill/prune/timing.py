"""Times that can be compared: taken in turn, in one run, the collector silent."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from torch import nn

from distill.detector.ported import traced_onnx
from distill.prune.runtimes import Floats, Runtime
from edge.core.contract import Outputs

WARMING_RUNS = 3
LEAST_STRETCH_MS = 0.5
"""Runs shorter than this are timed several at once: the clock and its call take about a microsecond."""

MOST_AT_ONCE = 20


def detector_run(on: Runtime, module: nn.Module, images_nchw: Floats) -> Callable[[int], object]:
    """Open a detector on a runtime; what is returned runs one picture, each in its turn.

    Args:
        images_nchw: (N, channels, H, W) float32.
    """
    shape = images_nchw.shape[1], images_nchw.shape[2], images_nchw.shape[3]
    tiles = [np.ascontiguousarray(image[None]) for image in images_nchw]
    run = on.opened(traced_onnx(module, shape, Outputs()))
    return lambda number: run(tiles[number % len(tiles)])


def interleaved_ms(runs: Sequence[Callable[[int], object]], rounds: int) -> NDArray[np.float64]:
    """Time functions in turn, so that what disturbs the box disturbs all of them alike.

    Args:
        runs: each is given the number of the round.
    Returns:
        (rounds, functions), milliseconds of one call.
    """
    times = np.empty((rounds, len(runs)))
    with _collector_silent():
        at_once = [_how_many_at_once(run) for run in runs]
        for number in range(rounds):
            for column, (run, count) in enumerate(zip(runs, at_once, strict=True)):
                times[number, column] = _stretch_ms(run, number, count)
    return times


def _how_many_at_once(run: Callable[[int], object]) -> int:
    for number in range(WARMING_RUNS):
        run(number)
    return int(np.clip(np.ceil(LEAST_STRETCH_MS / max(_stretch_ms(run, 0, 1), 1e-3)), 1, MOST_AT_ONCE))


def _stretch_ms(run: Callable[[int], object], number: int, count: int) -> float:
    begin_ns = time.perf_counter_ns()
    for _ in range(count):
        run(number)
    return (time.perf_counter_ns() - begin_ns) / 1e6 / count


@contextmanager
def _collector_silent() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
