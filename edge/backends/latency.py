"""Time a network on single tiles, and refuse one that is too slow for this device."""

from __future__ import annotations

import time

import numpy as np

from edge.backends.protocol import Backend
from edge.core.contract import ModelContract
from edge.core.errors import BackendError
from edge.core.latency import LatencyHistogram, LatencyQuantiles

MOST_RUNS = 100
LIMIT_S = 10.0
"""A slow device gets fewer runs."""


def check_latency(backend: Backend, contract: ModelContract, max_p99_ms: float | None) -> LatencyQuantiles:
    """Time the network on single inputs of noise; nothing is trimmed but the warm-up.

    Args:
        max_p99_ms: None for no limit.
    Raises:
        BackendError: if p99 is above the limit.
    """
    size = (1, contract.channels, *contract.input_size_hw_px)
    noise = np.random.default_rng(0).random(size, np.float32)
    backend.warm_up(1)
    times, end_s = LatencyHistogram(), time.monotonic() + LIMIT_S
    while len(times) < MOST_RUNS and (time.monotonic() < end_s or not len(times)):
        start_ns = time.perf_counter_ns()
        backend.infer(noise)
        times.add((time.perf_counter_ns() - start_ns) / 1e6)
    quantiles = times.quantiles()
    if max_p99_ms is not None and quantiles["p99"] > max_p99_ms:
        raise BackendError(
            f"A tile takes p99 {quantiles['p99']:.1f} ms on this device; permitted are {max_p99_ms:g} ms.",
            "Export a smaller or an INT8 model, try --backend auto, or permit more.",
        )
    return quantiles
