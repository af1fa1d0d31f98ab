"""Run `loomsight opcua`: try the settings of the OPC UA server, keep its users."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.process.console import command_app, configure_logging
from edge.process.terminal import echo

if TYPE_CHECKING:
    from edge.config.opcua import OpcuaSettings

app = command_app("Try the settings of the OPC UA server of edge-run, and keep its users.")

ConfigFlag = Annotated[Path, typer.Option(help="Settings as TOML, with a table [opcua].")]


class RoleName(str, Enum):
    """Name what a user may do."""

    read = "read"
    change = "change"


@app.command()
def check(config: ConfigFlag) -> None:
    """Serve as edge-run would, and connect with each security policy; an edge-run that serves goes on."""
    configure_logging()
    from edge.opcua.check import check_server

    echo(check_server(_settings(config)))


@app.command()
def user(
    name: Annotated[str, typer.Argument(help="Name of the user.", metavar="NAME")],
    config: ConfigFlag,
    role: Annotated[RoleName, typer.Option(help="change: may also call methods.")] = RoleName.read,
    remove: Annotated[bool, typer.Option("--remove", help="Take the user out of the file.")] = False,
) -> None:
    """Add a user, or give one another password and role. The password is read from the terminal or stdin.

    A running edge-run knows the user from the next login on.
    """
    configure_logging()
    from edge.core.errors import ConfigError
    from edge.opcua.users import new_user, read_users, write_users

    file = _settings(config).users_file
    users = read_users(file) if file.exists() else {}
    if remove and name not in users:
        raise ConfigError(f"{file} has no user '{name}'.", f"It has: {', '.join(users) or 'none'}.")
    if remove:
        del users[name]
    else:
        users[name] = new_user(name, role.value, _password())
    write_users(file, users)
    echo(f"{file}: '{name}' {'is removed' if remove else f'may {role.value}'}")


def _settings(config: Path) -> OpcuaSettings:
    """Return the table of a file.

    Raises:
        ConfigError: if it has none.
    """
    from edge.config.device import box_from_process
    from edge.core.errors import ConfigError

    settings = box_from_process(config, {})[0].config.opcua
    if settings is None:
        raise ConfigError(f"{config} has no table [opcua].", "Add it; its defaults suffice.")
    return settings


def _password() -> str:
    """Read a password, twice from a terminal."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")
