"""Keep the users of a device in a file: names, roles, and digests of their tokens, never the tokens."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from edge.accounts.permissions import Role
from edge.core.errors import ConfigError
from edge.core.events import utc_now
from edge.core.files import cannot_write
from edge.core.outside_files import check_private, read_text

SETTING: Final = "page_users_file"
TOKEN_BYTES: Final = 24
"""192 random bits: a digest without salt or stretching cannot be searched."""

NAME: Final = r"^\w([\w .'-]{0,62}\w)?$"

UserName = Annotated[str, Field(pattern=NAME)]


class User(BaseModel):
    """Hold a user.

    Attributes:
        token_sha256: digest of the token, in hexadecimal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: UserName
    role: Role
    token_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    added_utc: str


class UserList(BaseModel):
    """Hold the users of a device. Stands in the file of `page_users_file`, as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    users: tuple[User, ...] = ()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [user.name for user in self.users]
        if len(set(names)) < len(names):
            raise ValueError("two users have one name")
        return self


def token_digest(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def read_users(file: Path) -> UserList:
    """Read the users of a device.

    Raises:
        ConfigError: if there is no such file, others may read it, or it is none of users.
    """
    if not file.exists():
        raise ConfigError(
            f"There is no file of users {file}.",
            f"Make it with `loomsight user add NAME --role engineer --users {file}`.",
        )
    check_private(file, SETTING)
    text = read_text(file, cure=f"Check {SETTING}.")
    try:
        return UserList.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise ConfigError(
            f"{SETTING} {file} is no file of users ({where}: {first['msg']}).",
            "Copy it from a backup, or delete it and add the users again.",
        ) from error


def add_user(file: Path, name: str, role: Role) -> str:
    """Add a user with a new token; the file is made if it is not there.

    Returns:
        The token, which is kept nowhere.
    Raises:
        ConfigError: if there is a user of this name, or the file is none of users.
        OutputError: if the file cannot be written.
    """
    token = secrets.token_urlsafe(TOKEN_BYTES)
    try:
        user = User(name=name, role=role, token_sha256=token_digest(token), added_utc=utc_now())
    except ValidationError as error:
        raise ConfigError(
            f"'{name[:80]}' is no name of a user.",
            "Permitted: 1 to 64 letters, digits, spaces and . ' - _ with a letter or digit at both ends.",
        ) from error

    def added(known: UserList) -> UserList:
        if any(one.name == name for one in known.users):
            raise ConfigError(
                f"There is a user '{name}' already.", f"Remove it first: `loomsight user remove '{name}'`."
            )
        return UserList(users=(*known.users, user))

    _change(file, added)
    return token


def remove_user(file: Path, name: str) -> User:
    """Remove a user; their token is refused from the next request on.

    Raises:
        ConfigError: if there is no such user, or the file is none of users.
        OutputError: if the file cannot be written.
    """
    found: list[User] = []

    def left(known: UserList) -> UserList:
        found.extend(one for one in known.users if one.name == name)
        if not found:
            names = ", ".join(one.name for one in known.users) or "none"
            raise ConfigError(f"There is no user '{name[:80]}' in {file}.", f"It has: {names}.")
        return UserList(users=tuple(one for one in known.users if one.name != name))

    if not file.exists():
        read_users(file)
    _change(file, left)
    return found[0]


def _change(file: Path, changed: Callable[[UserList], UserList]) -> None:
    """Read, change and write the users, with other commands kept out."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _locked(file):
            users = changed(read_users(file) if file.exists() else UserList())
            _write_private(file, users.model_dump_json(indent=1).encode() + b"\n")
    except OSError as error:
        raise cannot_write(file, error) from error


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.with_name(f"{file.name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write_private(file: Path, data: bytes) -> None:
    """Write a file whole, for its owner only; one that was there keeps its owner, group and rights.

    Raises:
        OSError: if it cannot be written; the one before stays.
    """
    before = file.stat() if file.exists() else None
    made, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")  # of its owner only
    whole = Path(name)
    try:
        with os.fdopen(made, "wb") as stream:
            stream.write(data)
            if before is not None:
                os.fchown(made, before.st_uid, before.st_gid)
                os.fchmod(made, stat.S_IMODE(before.st_mode))
            stream.flush()
            os.fsync(made)
        whole.replace(file)
    finally:
        whole.unlink(missing_ok=True)
