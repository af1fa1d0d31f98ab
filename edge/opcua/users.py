"""Read who may see and who may change things over OPC UA; passwords are kept as hashes.

All that decides about rights is here: a read user sees everything, a change user may call methods, too.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, get_args

from edge.core.errors import ConfigError
from edge.core.files import write_whole
from edge.core.outside_files import check_private, read_text

Role = Literal["read", "change"]

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
LEAST_CHARACTERS: Final = 10
MOST_CHARACTERS: Final = 256
"""Of a password; a longer one is refused before it is hashed."""

COST: Final = 2**14
BLOCKS: Final = 8
"""Of scrypt (RFC 7914, section 2): 16 MiB and some 50 ms for each check."""

SETTING: Final = "opcua: the file of users"


@dataclass(frozen=True, slots=True)
class KnownUser:
    """Hold a line of the file: `NAME ROLE scrypt$SALT$HASH`."""

    name: str
    role: Role
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    @property
    def may_change(self) -> bool:
        """Whether methods may be called."""
        return self.role == "change"

    def line(self) -> str:
        """Return the line of the file."""
        salt, digest = (base64.b64encode(part).decode() for part in (self.salt, self.digest))
        return f"{self.name} {self.role} scrypt${salt}${digest}\n"


NO_USER: Final = KnownUser("nobody", "read", b"salt of no user.", b"")
"""Checked in the place of a name that is not known: so long does every check take."""


def new_user(name: str, role: Role, password: str) -> KnownUser:
    """Return a user with a new salt.

    Raises:
        ConfigError: if the name or the password is not permitted.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"A user cannot be called '{name}'.", "Permitted: up to 64 letters, digits, and . _ @ - behind."
        )
    if not LEAST_CHARACTERS <= len(password) <= MOST_CHARACTERS or not password.isprintable():
        raise ConfigError(
            f"The password has to have {LEAST_CHARACTERS} to {MOST_CHARACTERS} printable characters.",
            "Choose another one.",
        )
    salt = secrets.token_bytes(16)
    return KnownUser(name, role, salt, _digest(password, salt))


def read_users(file: Path) -> dict[str, KnownUser]:
    """Read the file of users.

    Raises:
        ConfigError: if it is missing, others may read it, or a line of it is none.
    """
    check_private(file, SETTING)
    users: dict[str, KnownUser] = {}
    for number, line in enumerate(read_text(file, cure="Check opcua.folder.").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        user = _user_of(line)
        if user is None or user.name in users:
            raise ConfigError(
                f"{SETTING} {file}: line {number} is no user, or one that came before.",
                "Delete it, and run `loomsight opcua user NAME`.",
            )
        users[user.name] = user
    return users


def write_users(file: Path, users: Mapping[str, KnownUser]) -> None:
    """Write the file of users, for its owner only.

    Raises:
        OutputError: if it cannot be written.
    """
    write_whole(file, "".join(user.line() for user in users.values()).encode(), is_private=True)


def with_password(users: Mapping[str, KnownUser], name: str, password: str) -> KnownUser | None:
    """Return the user whose name and password these are; None if there is none.

    It takes as long for a name that is not known.
    """
    user = users.get(name, NO_USER)
    if len(password) > MOST_CHARACTERS:
        return None
    is_right = hmac.compare_digest(_digest(password, user.salt), user.digest)
    return user if is_right and user is not NO_USER else None


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, n=COST, r=BLOCKS, p=1)


def _user_of(line: str) -> KnownUser | None:
    name, _, rest = line.partition(" ")
    role, _, stored = rest.strip().partition(" ")
    method, *parts = stored.strip().split("$")
    known = next((one for one in get_args(Role) if one == role), None)
    if known is None or method != "scrypt" or len(parts) != 2 or not NAME.fullmatch(name):
        return None
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in parts)
    except ValueError:
        return None
    return KnownUser(name, known, salt, digest) if salt and len(digest) == 64 else None
