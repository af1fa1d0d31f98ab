"""Tell by its token who makes a request: one of the users of a device, or who has the common token."""

from __future__ import annotations

import hmac
import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge.accounts.permissions import Role
from edge.accounts.users import User, read_users, token_digest

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Person:
    """Name who makes a request.

    Attributes:
        name: None for who has the common token of a device without users.
    """

    name: str | None
    role: Role


class Guard(Protocol):
    """Know tokens."""

    def person(self, token: str) -> Person | None:
        """Return whose token this is; None if it is not known.

        Raises:
            LoomsightError: if that cannot be told now.
        """
        ...


class CommonToken:
    """Know one token; who has it may do everything.

    Args:
        token: the secret.
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def person(self, token: str) -> Person | None:
        """See `Guard`."""
        is_right = hmac.compare_digest(token.encode("utf-8", "surrogateescape"), self._token)
        return Person(None, "engineer") if is_right else None


class DeviceUsers:
    """Know the users of a file, which is read again when it has changed.

    As long as it has no user, the common token is permitted; from the first user on it is not.

    Args:
        file: of users.
        common: the common token.
    Raises:
        ConfigError: if the file cannot be used.
    """

    def __init__(self, file: Path, common: CommonToken) -> None:
        self._file = file
        self._common = common
        self._lock = threading.Lock()
        self._mark = _mark(file)
        self._users = read_users(file).users

    @property
    def has_users(self) -> bool:
        """Whether there are users, as of the last look."""
        return bool(self._users)

    def person(self, token: str) -> Person | None:
        """See `Guard`. A file that cannot be used any more refuses everyone.

        Raises:
            ConfigError: if it cannot.
        """
        users = self._read_if_changed()
        if not users:
            return self._common.person(token)
        digest = token_digest(token)
        found = None
        for user in users:  # all of them: how long it takes tells nothing
            if hmac.compare_digest(user.token_sha256, digest):
                found = Person(user.name, user.role)
        return found

    def _read_if_changed(self) -> tuple[User, ...]:
        with self._lock:
            mark = _mark(self._file)
            if mark is None or mark != self._mark:
                self._users = read_users(self._file).users
                self._mark = mark
                logger.info("the users of %s were read again: %d", self._file, len(self._users))
            return self._users


def _mark(file: Path) -> tuple[int, ...] | None:
    """Return what tells a state of a file from any other; None if it cannot be looked at."""
    try:
        found = file.stat()
    except OSError:
        return None
    return (
        found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size,
        found.st_mode, found.st_uid,
    )  # fmt: skip


def guard_of(file: Path | None, token: str) -> Guard:
    """Return who knows the tokens of a device.

    Args:
        file: of its users; None if it has none.
        token: the common one.
    Raises:
        ConfigError: if the file cannot be used.
    """
    common = CommonToken(token)
    return common if file is None else DeviceUsers(file, common)
