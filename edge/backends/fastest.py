"""Find the fastest backend of this device for a model by a short measurement at the real batch size."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from edge.backends.description import BackendDescription, CandidateName
from edge.backends.measurements import Circumstances, Measurement, MeasurementCache
from edge.backends.protocol import Backend, OpenBackend
from edge.core.errors import LoomsightError

logger = logging.getLogger(__name__)

LEAST_ROUNDS = 3
MOST_ROUNDS = 15
ENOUGH_S = 2.0
"""A measurement ends after so many seconds, but not before `LEAST_ROUNDS`."""

Floats = NDArray[np.float32]


class FastestBackend:
    """Run a model on the candidate that is fastest at the batch size frames lead to.

    That size is known with the first frame. Until then it runs on what was fastest the last time, or on the
    first candidate; `warm_up` then takes the answer from the cache or measures all of them in turn.

    Args:
        candidates: opener by name, at least one, the one to fall back on first. An opener raises if what
            it opens does not compute what it should: see `opened_and_checked`.
        input_shape: (C, H, W) of the network.
        circumstances: of a measurement at a batch size.
        cache: of measurements.
    Raises:
        LoomsightError, ImportError: what keeps the first candidate from working, if none of them does.
    """

    def __init__(
        self,
        candidates: Mapping[CandidateName, Callable[[], OpenBackend]],
        input_shape: tuple[int, int, int],
        *,
        circumstances: Callable[[int], Circumstances],
        cache: MeasurementCache,
    ) -> None:
        self._candidates = candidates
        self._input_shape = input_shape
        self._circumstances = circumstances
        self._cache = cache
        self._settled_for = 0
        self._failures: dict[CandidateName, LoomsightError | ImportError] = {}
        before = cache.find_at_any_batch(circumstances(1)) if len(candidates) > 1 else None
        self._chosen, self._backend = self._first_that_works(before.fastest_first() if before else (), {})
        if len(candidates) == 1:
            logger.info("backend %s: no other is installed that can do what is asked", self._chosen)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._backend.__exit__(*error)

    @property
    def name(self) -> str:
        """The name of the backend it runs on."""
        return self._backend.name

    @property
    def description(self) -> BackendDescription:
        """What it runs on."""
        return self._backend.description

    def infer(self, images_nchw: Floats) -> tuple[Floats, Floats]:
        """Run the network: see the backends."""
        return self._backend.infer(images_nchw)

    def warm_up(self, batch: int) -> None:
        """Settle on a backend, if the batch is larger than any before, and run it once."""
        if batch > self._settled_for and len(self._candidates) > 1:
            self._settle(batch)
            self._settled_for = batch
        self._backend.warm_up(batch)

    def _settle(self, batch: int) -> None:
        """Switch to the candidate that is fastest at a batch size; the others are closed."""
        opened = {self._chosen: self._backend}
        measurement = self._cache.find(self._circumstances(batch))
        when = f"as measured at {measurement.measured_utc}" if measurement else "measured now"
        try:
            if measurement is None:
                measurement = self._measure(batch, opened)
            self._chosen, self._backend = self._first_that_works(measurement.fastest_first(), opened)
        finally:
            for backend in opened.values():
                if backend is not self._backend:
                    backend.__exit__(None, None, None)
        times = ", ".join(f"{name} {ms:.1f} ms" for name, ms in measurement.milliseconds.items())
        logger.info("backend %s: a batch of %d takes %s, %s", self._chosen, batch, times, when)

    def _measure(self, batch: int, opened: dict[CandidateName, OpenBackend]) -> Measurement:
        """Open and time every candidate that works; remember it if all of them do."""
        for name in self._candidates.keys() - opened.keys():
            backend = self._opened(name)
            if backend is not None:
                opened[name] = backend
        working = {name: opened[name] for name in self._candidates if name in opened}
        for backend in working.values():
            backend.warm_up(batch)
        noise = np.random.default_rng(0).random((batch, *self._input_shape), np.float32)
        milliseconds = time_in_turn(working, noise)
        measurement = Measurement(circumstances=self._circumstances(batch), milliseconds=milliseconds)
        if working.keys() == self._candidates.keys():
            self._cache.add(measurement)
        return measurement

    def _first_that_works(
        self, names: Sequence[CandidateName], opened: Mapping[CandidateName, OpenBackend]
    ) -> tuple[CandidateName, OpenBackend]:
        """Take the first of these that works, then any candidate that does.

        Raises:
            LoomsightError, ImportError: what keeps the first candidate from working, if none does.
        """
        for name in dict.fromkeys([*names, *self._candidates]):
            backend = opened.get(name) or self._opened(name)
            if backend is not None:
                return name, backend
        raise next(iter(self._failures.values()))

    def _opened(self, name: CandidateName) -> OpenBackend | None:
        """Open a candidate; say why if it does not work."""
        if name in self._failures:
            return None
        try:
            return self._candidates[name]()
        except (LoomsightError, ImportError) as error:
            logger.warning("backend %s is skipped: %s", name, error)
            self._failures[name] = error
            return None


def opened_and_checked(opener: Callable[[], OpenBackend], check: Callable[[Backend], None]) -> OpenBackend:
    """Open a backend and check it; close it if it fails.

    Raises:
        LoomsightError, ImportError: what the opener or the check raises.
    """
    backend = opener()
    try:
        check(backend)
    except LoomsightError:
        backend.__exit__(None, None, None)
        raise
    return backend


def time_in_turn(
    backends: Mapping[CandidateName, Backend], images_nchw: Floats
) -> dict[CandidateName, float]:
    """Time backends in turn, so that what else the device does meets all of them alike.

    Args:
        backends: by name, each warmed up for this batch.
        images_nchw: (B, C, H, W) float32.
    Returns:
        Median of one inference, in milliseconds, by name.
    """
    seconds: dict[CandidateName, list[float]] = {name: [] for name in backends}
    end_s = time.perf_counter() + ENOUGH_S
    for number in range(MOST_ROUNDS):
        if number >= LEAST_ROUNDS and time.perf_counter() > end_s:
            break
        for name, backend in backends.items():
            start_s = time.perf_counter()
            backend.infer(images_nchw)
            seconds[name].append(time.perf_counter() - start_s)
    return {name: round(median(times) * 1000, 3) for name, times in seconds.items()}
