"""Define what stands at the head of a roll's paper beside its name and article."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from edge.core.errors import ConfigError
from edge.core.settings import resolved

ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]+$"
"""No control character, no end of line, and nothing that turns the direction of reading."""

Line = Annotated[str, Field(min_length=1, max_length=200, pattern=ONE_LINE)]
"""One line of text."""


class RollHeader(BaseModel):
    """Hold the head of a roll report; what nobody gave is left out of the paper."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    title: Line | None = Field(default=None, description="Title of the paper.")
    mill: Line | None = Field(default=None, description="Mill that wove or inspected the roll.")
    customer: Line | None = Field(default=None, description="Buyer of the roll.")
    operator: Line | None = Field(default=None, description="Person at the machine.")
    machine: Line | None = Field(default=None, description="Loom or inspection machine.")
    shift: Line | None = Field(default=None, description="Shift in which the roll was inspected.")

    def given(self) -> dict[str, str]:
        """Return what somebody gave."""
        return dict(self.model_dump(exclude_none=True))


def header_words(words: Iterable[str]) -> dict[str, Any]:
    """Split words of a command line, `mill=Example Mill`, into keys and texts.

    Raises:
        ConfigError: if one has no `=`.
    """
    parts = [(word, *word.partition("=")) for word in words]
    for word, key, sign, _ in parts:
        if not sign or not key.strip():
            known = ", ".join(RollHeader.model_fields)
            raise ConfigError(
                f"--roll-header {word} is not permitted.", f"Write --roll-header KEY=TEXT; keys: {known}."
            )
    keys = [key.strip() for _, key, _, _ in parts]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ConfigError(f"--roll-header gives {twice[0]} twice.", "Give each key once.")
    return {key.strip(): text.strip() for _, key, _, text in parts}


def header_of(words: Iterable[str]) -> RollHeader:
    """Read the head from words of a command line.

    Raises:
        ConfigError: naming the key and what is permitted.
    """
    values: Mapping[str, Any] = header_words(words)
    return resolved(RollHeader, {"--roll-header": values})
