"""Merge settings from a TOML file, the environment and flags; each is checked, so messages can name it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ValidationError

from edge.core.errors import ConfigError
from edge.core.outside_documents import read_toml

Settings = TypeVar("Settings", bound=BaseModel)

LONGEST_VALUE: Final = 80
"""Characters of a value that a message repeats."""

LONGEST_NAME_BYTES: Final = 255
"""Of a file or folder, as Linux has it."""

MOST_PARTS: Final = 255
"""Folders of a path; Python makes them by calling itself for each."""


def own_path(path: Path) -> Path:
    """Return a path with `~` as the home folder that it means: no shell has read a file or the environment.

    Raises:
        ValueError: if there is no such home, or no file can have that name.
    """
    if "\0" in str(path):
        raise ValueError("a name cannot hold a zero byte")
    if any(len(os.fsencode(part)) > LONGEST_NAME_BYTES for part in path.parts):
        raise ValueError(f"a name has at most {LONGEST_NAME_BYTES} bytes")
    if len(path.parts) > MOST_PARTS:
        raise ValueError(f"a path has at most {MOST_PARTS} folders")
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path.parts[0]} is nobody's home folder here") from error


OwnPath = Annotated[Path, AfterValidator(own_path)]
"""A path that stands in a setting."""


def resolved(kind: type[Settings], layers: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Merge layers into settings; what stands in a later one wins, key by key.

    Args:
        kind: a model that forbids extra keys.
        layers: source -> values; the source is what a message calls it. A layer may lack required keys.
    Raises:
        ConfigError: naming the source, the key and what is permitted.
    """
    merged: dict[str, Any] = {}
    source_of: dict[str, str] = {}
    for source, values in layers.items():
        _checked(kind, values, lambda _, source=source: source, is_whole=False)
        merged |= values
        source_of |= dict.fromkeys(values, source)
    return _checked(kind, merged, lambda key: source_of.get(key, "the settings"), is_whole=True)


def toml_values(file: Path | None) -> dict[str, Any]:
    """Read a TOML file; no file is no values.

    Raises:
        ConfigError: if it is missing or not TOML.
    """
    return {} if file is None else read_toml(file)


def environment_values(environment: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Return the variables with a prefix by the name of their setting; the check refuses unknown ones."""
    return {
        name.removeprefix(prefix).lower(): text
        for name, text in environment.items()
        if name.startswith(prefix)
    }


def _checked(
    kind: type[Settings], values: Mapping[str, Any], source_of: Any, *, is_whole: bool
) -> Settings:
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        wrong = [one for one in error.errors() if is_whole or one["type"] != "missing"]
        if not wrong:
            return kind.model_construct()
        first = wrong[0]
        path = first["loc"]
        source = source_of(str(path[0]) if path else "")
        if not path:
            raise ConfigError(f"{source}: {_said(first)}.", "Correct one of them.") from error
        key = ".".join(str(part)[:LONGEST_VALUE] for part in path)
        if first["type"] == "extra_forbidden":
            known = ", ".join(_fields_at(kind, path[:-1]))
            raise ConfigError(f"{source}: there is no setting '{key}'.", f"Permitted: {known}.") from error
        if first["type"] == "missing":
            raise ConfigError(f"{source}: {key} is missing.", "Add it.") from error
        raise ConfigError(
            f"{source}: {key} = {shown(first['input'])} is not permitted.", f"{_said(first)}."
        ) from error
    except (ValueError, OverflowError, RecursionError) as error:  # a number of thousands of digits as text
        named = ", ".join(dict.fromkeys(source_of(key) for key in values))
        raise ConfigError(f"{named}: {str(error)[:LONGEST_VALUE]}.", "Correct it there.") from error


def _said(error: Mapping[str, Any]) -> str:
    """Return what pydantic, or a check of our own, has to say of a value, without a full stop."""
    if error["type"] == "string_unicode":
        return "its letters are not UTF-8: start with LC_ALL=C.UTF-8, or rename it"
    return str(error["msg"]).removeprefix("Value error, ").rstrip(".")


def shown(value: Any) -> str:
    """Return a value as a message repeats it: short, whatever it is."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, a table without end
        return f"a {type(value).__name__} that is too long to repeat"
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _fields_at(kind: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """Return the names of the fields of the model that lies at a path within another."""
    for part in path:
        field = kind.model_fields.get(str(part))
        if field is not None:
            kind = next(iter(_models_in(field.annotation)), kind)
    return list(kind.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


class OneOf:
    """Permit these names alone, in `Annotated[str, OneOf(REGISTRY)]`; the message lists them.

    Args:
        names: at least one; a registry's keys.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return handler.generate_schema(Literal[self.names])
