"""Read back the values that pruning keeps as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from edge.core.errors import ConfigError
from edge.core.outside_files import SETTINGS_BYTES, read_bytes

Value = TypeVar("Value", bound=BaseModel)


def read_stored(kind: type[Value], file: Path, name: str, cure: str) -> Value:
    """Read a value from a file.

    Args:
        name: of such a value, for a person.
        cure: what to do if the file is missing or holds none.
    Raises:
        ConfigError: if it is missing or holds none.
    """
    try:
        return kind.model_validate_json(read_bytes(file, SETTINGS_BYTES, ConfigError, cure))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(f"{file} is not a {name}: {where}: {first['msg']}.", cure) from error
