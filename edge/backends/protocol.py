"""Define the protocol of a backend: how to open, ask and close it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from edge.backends.description import BackendDescription

Floats = NDArray[np.float32]


class Backend(Protocol):
    """Run a network: see `edge.backends`."""

    @property
    def description(self) -> BackendDescription:
        """What it runs on."""
        ...

    def infer(self, images_nchw: Floats) -> tuple[Floats, Floats]:
        """Return boxes (B, A, 4) in input pixels and scores (B, A, classes)."""
        ...

    def warm_up(self, batch: int) -> None:
        """Run once on a batch of this size."""
        ...


class OpenBackend(Backend, Protocol):
    """Define a backend that releases its runtime at the end of a `with`."""

    @property
    def name(self) -> str:
        """Its name in `edge.backends.registry.BACKENDS`."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...
