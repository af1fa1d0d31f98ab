"""Define the base of checked values: frozen, and without unknown keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.core.errors import CheckpointError

Fraction = Annotated[float, Field(ge=0, le=1)]

Model = TypeVar("Model", bound=BaseModel)


class Value(BaseModel):
    """Hold checked values."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FiniteValue(Value):
    """Hold checked values whose numbers are finite, as settings are."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def read_kept(kind: type[Model], file: Path) -> Model:
    """Read a value that a run keeps as JSON.

    Raises:
        CheckpointError: if the file is missing or damaged.
    """
    try:
        return kind.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise CheckpointError(f"{file} cannot be read.", "Start a new run with another --out.") from error
