"""Return the options that a person gave, so that a command can be proposed that repeats them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any

import typer

GivenOptions = dict[str, list[str]]
"""Words of each option that stood on a command line, by the name of its parameter."""


def given_options(context: typer.Context, *, but: Collection[str] = ()) -> GivenOptions:
    """Return the options of this command line, without its arguments and what is at its default.

    Args:
        but: parameters to leave out: they differ in the command that is proposed.
    """
    return {
        parameter.name: _words(parameter, context.params[parameter.name])
        for parameter in context.command.params
        if parameter.param_type_name == "option"
        and parameter.name is not None
        and parameter.name not in but
        and _is_given(context, parameter.name)
    }


def all_words(options: Mapping[str, list[str]]) -> list[str]:
    """Return options as they follow each other on a command line."""
    return [word for words in options.values() for word in words]


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _words(parameter: Any, value: Any) -> list[str]:
    flag = parameter.opts[0]
    if isinstance(value, bool):
        return [flag if value else parameter.secondary_opts[0]]
    values = value if isinstance(value, list | tuple) else [value]
    return [word for one in values for word in (flag, str(one.value if isinstance(one, Enum) else one))]
