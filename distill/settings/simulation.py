"""Complete what a recipe says of simulated cloth."""

from __future__ import annotations

from collections.abc import Mapping

from edge.dataset.options import DatasetOptions


def filled_up(given: object, default: DatasetOptions) -> object:
    """Take what a table of a recipe leaves out from a default of its own, not from that of `simulate`.

    Args:
        given: the table, or a value that pydantic will judge.
        default: of the table.
    """
    return {**default.model_dump(), **given} if isinstance(given, Mapping) else given
