"""Name who does something: a person on the page, the settings of a device, or a user at a command line."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from typing import Final

SETTINGS: Final = "settings"
"""Who decides what a device does by itself."""

COMMON_TOKEN: Final = "common token"
"""Who changes something on the page of a device without users."""


def user_named(name: str | None) -> str:
    """Return what the log calls a user of the page; None is the one who has the common token."""
    return COMMON_TOKEN if name is None else f"user {name}"


def unix_user(environment: Mapping[str, str] | None = None) -> str:
    """Return the account that this process runs as, and who became it by sudo."""
    given = os.environ if environment is None else environment
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # in a container a number may have no name
        name = f"number {os.geteuid()}"
    before = given.get("SUDO_USER", "")
    is_named = before and before != name and before.isprintable()
    return f"{name} (sudo by {before[:100]})" if is_named else name


def command_line() -> str:
    """Return what the log calls who gave this command."""
    return f"command line: unix user {unix_user()}"
