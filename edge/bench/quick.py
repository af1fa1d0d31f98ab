"""Time the network for a second on each backend: what a device can do, roughly, before a long benchmark."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge.backends.choose import usable_backends
from edge.backends.description import BackendOptions
from edge.backends.registry import BACKENDS, BackendName
from edge.config.edge import EdgeConfig
from edge.core.contract import Letterbox, ModelContract
from edge.inference.model import open_model
from edge.process.other_load import OtherLoad

MEASURED_S: Final = 1.0
LEAST_RUNS: Final = 2
TILES: Final = 4
"""Given to the network at once, where it takes any number."""


@dataclass(frozen=True, slots=True)
class QuickResult:
    """Say how much cloth the network alone looks at on one backend.

    Attributes:
        description: runtime, device and precision.
        m2_per_min: of cloth; None where the scale of the model is not known.
        other_load_cores: see `OtherLoad`.
    """

    backend: BackendName
    description: str
    tiles_per_s: float
    m2_per_min: float | None
    mm_per_px: float | None
    other_load_cores: float | None

    def m_per_min(self, width_m: float) -> float | None:
        """Return how fast cloth of a width may pass."""
        return None if self.m2_per_min is None else self.m2_per_min / width_m


def quick_results(config: EdgeConfig) -> list[QuickResult]:
    """Time the model of the settings on every backend that needs no engine built first.

    Raises:
        LoomsightError: if the model cannot be vouched for.
    """
    names = [name for name in usable_backends(BackendOptions()) if not BACKENDS[name].runs_engines]
    return [_result(config.model_copy(update={"backend": name}), name) for name in names]


def _result(config: EdgeConfig, name: BackendName) -> QuickResult:
    with ExitStack() as stack:
        backend, contract = open_model(config, stack)
        batch = contract.batch or TILES
        images = np.random.default_rng(0).random(
            (batch, contract.channels, *contract.input_size_hw_px), dtype=np.float32
        )
        backend.infer(images)
        with OtherLoad() as others:
            start_s, runs = time.perf_counter(), 0
            while runs < LEAST_RUNS or time.perf_counter() - start_s < MEASURED_S:
                backend.infer(images)
                runs += 1
            seconds = time.perf_counter() - start_s
        one = backend.description
    tiles_hz = batch * runs / seconds
    area_m2 = new_m2_per_tile(contract)
    return QuickResult(
        backend=name,
        description=f"{one.runtime} {one.device} {one.precision}",
        tiles_per_s=round(tiles_hz, 2),
        m2_per_min=None if area_m2 is None else tiles_hz * area_m2 * 60,
        mm_per_px=contract.mm_per_px,
        other_load_cores=others.cores,
    )


def new_m2_per_tile(contract: ModelContract) -> float | None:
    """Return the cloth that a tile shows and its neighbours do not; None without a scale or tiles."""
    geometry, mm_per_px = contract.geometry, contract.mm_per_px
    if mm_per_px is None or isinstance(geometry, Letterbox):
        return None
    height, width = (side - geometry.overlap_px for side in contract.input_size_hw_px)
    return height * width * (mm_per_px / 1000) ** 2
