"""Settings whose permitted values are the names of a registry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal


class OneOf:
    """Permit these names alone, in `Annotated[str, OneOf(REGISTRY)]`; the message lists them.

    Args:
        names: at least one; a registry's keys.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return handler.generate_schema(Literal[self.names])
