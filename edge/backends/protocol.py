"""What every backend is to those who open and close it."""

from __future__ import annotations

from typing import Protocol

from typing_extensions import Self

from edge.backends.description import BackendName
from edge.inspector import Backend


class OpenBackend(Backend, Protocol):
    """A backend that lets go of its runtime at the end of a `with`."""

    @property
    def name(self) -> BackendName:
        """Its name in `edge.backends.choose.BACKENDS`."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...
