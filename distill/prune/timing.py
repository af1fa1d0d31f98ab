"""Times that can be compared: on the edge's backends, taken in turn, in one run, the collector silent."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import nn

from distill.detector.ported import traced_onnx
from edge.backends.description import BackendOptions
from edge.backends.protocol import Floats, OpenBackend
from edge.backends.provider_start import CPU
from edge.backends.registry import BACKENDS
from edge.core.contract import METADATA_KEY, ModelContract, Outputs
from edge.inference.engine_build import BuildRequest, build_engines

logger = logging.getLogger(__name__)

WARMING_RUNS = 3
LEAST_STRETCH_MS = 0.5
"""Runs shorter than this are timed several at once: the clock and its call take about a microsecond."""

MOST_AT_ONCE = 20


class Timed(NamedTuple):
    """A detector that is ready to be timed.

    Attributes:
        run: runs one image, that of the number given, each in its turn.
        version: of the backend's package.
    """

    run: Callable[[int], object]
    version: str


@contextmanager
def detector_run(
    name: str, threads: int, module: nn.Module, contract: ModelContract, images_nchw: Floats
) -> Iterator[Timed]:
    """Open a detector on a backend, in float32.

    Args:
        name: of the backend; ONNX Runtime is timed on the processor.
        threads: of one inference, on the processor.
        contract: of the detector.
        images_nchw: (N, channels, H, W) float32; they take turns.
    Raises:
        ImportError: if the backend's package is not installed; a command's `main` names the cure.
        BackendError: if it needs a device that is not there, or fails.
    """
    tiles = [np.ascontiguousarray(image[None]) for image in images_nchw]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        plain = contract.model_copy(update={"outputs": Outputs(), "batch": None})
        file.write_bytes(_model_with_contract(module, plain))
        with _opened(name, threads, file, plain) as backend:
            version = backend.description.runtime.partition(" ")[2]
            yield Timed(lambda number: backend.infer(tiles[number % len(tiles)]), version)


def _model_with_contract(module: nn.Module, contract: ModelContract) -> bytes:
    shape = (contract.channels, *contract.input_size_hw_px)
    traced = onnx.load_from_string(traced_onnx(module, shape, contract.outputs))
    model = onnx.shape_inference.infer_shapes(traced, strict_mode=True, data_prop=True)
    onnx.helper.set_model_props(model, {METADATA_KEY: contract.model_dump_json()})
    return bytes(model.SerializeToString())


@contextmanager
def _opened(name: str, threads: int, file: Path, contract: ModelContract) -> Iterator[OpenBackend]:
    kind = BACKENDS[name]
    options = BackendOptions((CPU,) if kind.has_providers else (), "f32", threads)
    with _engines_for(file, kind.runs_engines), kind.opened(file, contract, options) as backend:
        backend.warm_up(1)
        yield backend


@contextmanager
def _engines_for(file: Path, are_needed: bool) -> Iterator[None]:
    """Have engines for single images where a backend runs engines; they go with the candidate."""
    request = BuildRequest(file, "f32", batch=1, fixed_batch=True)
    engines = build_engines(request, say=logger.info) if are_needed else []
    try:
        yield
    finally:
        for engine in engines:
            engine.delete()


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
