"""Define the base of values that are checked: frozen, and with no key that nobody knows."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]


class Value(BaseModel):
    """Hold checked values."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FiniteValue(Value):
    """Hold checked values whose numbers are finite, as settings are."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
