"""Run `loomsight user`: add, list and remove the users of the live page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.accounts.permissions import ROLES, Role
from edge.process.console import command_app, configure_logging
from edge.process.terminal import echo, json_text

if TYPE_CHECKING:
    from edge.config.device import CameraSettings

app = command_app("Add, list and remove the users of the live page, each with a role and a token.")

NameArgument = Annotated[str, typer.Argument(help="Name of the user.", metavar="NAME")]
ConfigFlag = Annotated[
    Path | None, typer.Option(help="Settings of edge-run: page_users_file, and the audit log.")
]
UsersFlag = Annotated[
    Path | None, typer.Option(help="File of the users  [default: page_users_file of the settings]")
]


@app.command()
def add(
    name: NameArgument,
    role: Annotated[str, typer.Option(help=f"{', '.join(ROLES)}.")],
    config: ConfigFlag = None,
    users: UsersFlag = None,
) -> None:
    """Add a user, and print the token: it is kept nowhere, so note it now."""
    configure_logging()
    from edge.accounts.users import add_user
    from edge.commands.audit_notes import note_command

    known, cameras = _role(role), _cameras(config)
    file = _file(users, cameras)
    token = add_user(file, name, known)
    sys.stderr.write(f"user '{name}' with the role {known} is in {file}; the token is shown this once:\n")
    echo(token)
    note_command(cameras, "user added", user=name, role=known, file=str(file))


@app.command("list")
def list_users(
    config: ConfigFlag = None,
    users: UsersFlag = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the users, their roles and since when they are there."""
    configure_logging()
    from edge.accounts.users import read_users

    found = read_users(_file(users, _cameras(config))).users
    if as_json:
        echo(json_text([user.model_dump(include={"name", "role", "added_utc"}) for user in found]))
        return
    for user in found:
        echo(f"{user.role:<11} {user.added_utc[:10]}  {user.name}")


@app.command()
def remove(name: NameArgument, config: ConfigFlag = None, users: UsersFlag = None) -> None:
    """Remove a user: a running page refuses the token from the next request on."""
    configure_logging()
    from edge.accounts.users import read_users, remove_user
    from edge.commands.audit_notes import note_command

    cameras = _cameras(config)
    file = _file(users, cameras)
    gone = remove_user(file, name)
    left = len(read_users(file).users)
    then = "" if left else "; there are none now, so the common token of the page is permitted again"
    echo(f"user '{gone.name}' is removed{then}")
    note_command(cameras, "user removed", user=gone.name, role=gone.role, file=str(file))


def _role(text: str) -> Role:
    from edge.core.errors import ConfigError

    for role in ROLES:
        if text == role:
            return role
    raise ConfigError(f"There is no role '{text[:80]}'.", f"Permitted: {', '.join(ROLES)}.")


def _cameras(config: Path | None) -> Sequence[CameraSettings]:
    from edge.config.device import box_from_process

    return box_from_process(config, {})


def _file(users: Path | None, cameras: Sequence[CameraSettings]) -> Path:
    from edge.core.errors import ConfigError

    file = users or cameras[0].config.page_users_file
    if file is None:
        raise ConfigError(
            "Nothing names a file of users.", "Set page_users_file in the file of --config, or add --users."
        )
    return file
