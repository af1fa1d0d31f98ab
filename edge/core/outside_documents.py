"""Parse TOML and JSON that others wrote: whatever is wrong with it is one line with its cure."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from edge.core.errors import ConfigError, LoomsightError
from edge.core.outside_files import SETTINGS_BYTES, read_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: Path, error: type[LoomsightError] = ConfigError) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        LoomsightError: `error`, if it cannot be read or is not TOML.
    """
    return parsed_toml(read_text(path, SETTINGS_BYTES, error), str(path), error)


def parsed_toml(text: str, name: str, error: type[LoomsightError] = ConfigError) -> dict[str, Any]:
    """Parse TOML; a number of thousands of digits, or nesting without end, is refused like a wrong line.

    Raises:
        LoomsightError: `error`, if it is not TOML.
    """
    try:
        values: dict[str, Any] = tomllib.loads(text)
    except ValueError as reason:
        raise error(f"{name} is not valid TOML: {_shortened(reason)}.", "Correct it there.") from reason
    except RecursionError as reason:
        raise error(f"{name} is nested too deeply.", _LESS_DEEP) from reason
    return values


def read_json(
    path: Path, most_bytes: int = SETTINGS_BYTES, error: type[LoomsightError] = ConfigError
) -> Any:
    """Read a JSON file.

    Raises:
        LoomsightError: `error`, if it cannot be read or is not JSON.
    """
    return parsed_json(read_text(path, most_bytes, error), str(path), error)


def parsed_json(text: str | bytes, name: str, error: type[LoomsightError] = ConfigError) -> Any:
    """Parse JSON. As in Python, NaN and Infinity are numbers: who takes numbers from it checks them.

    Raises:
        LoomsightError: `error`, if it is not JSON.
    """
    try:
        return json.loads(text)
    except ValueError as reason:
        raise error(f"{name} is not valid JSON: {_shortened(reason)}.", "Correct it there.") from reason
    except RecursionError as reason:
        raise error(f"{name} is nested too deeply.", _LESS_DEEP) from reason


_LESS_DEEP = "Write it without nesting beyond a few levels."


def _shortened(reason: Exception) -> str:
    text = str(reason)
    return text if len(text) <= 200 else f"{text[:200]}..."
