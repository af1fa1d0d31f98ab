"""Say what a client may ask for at all, and who its user is."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asyncua import ua
from asyncua.crypto.permission_rules import PermissionRuleset, User, UserRole
from asyncua.server.internal_server import InternalServer
from asyncua.server.user_managers import UserManager

from edge.core.errors import LoomsightError
from edge.opcua.users import read_users, with_password

logger = logging.getLogger(__name__)

SERVICES: Final = frozenset(
    ua.NodeId(getattr(ua.ObjectIds, f"{name}Request_Encoding_DefaultBinary"))
    for name in (
        "Read", "Browse", "TranslateBrowsePathsToNodeIds", "RegisterNodes", "UnregisterNodes", "Call",
        "CreateSubscription", "ModifySubscription", "DeleteSubscriptions", "SetPublishingMode", "Publish",
        "Republish", "CreateMonitoredItems", "ModifyMonitoredItems", "DeleteMonitoredItems",
        "SetMonitoringMode", "CloseSecureChannel",
    )
)  # fmt: skip
"""What a client may ask for; the address space is changed by none, and nothing is written: see methods."""


@dataclass
class BoxUser(User):
    """Say who a session belongs to."""

    may_change: bool = False


class Services(PermissionRuleset):
    """Permit the services that there are, to whoever has a session."""

    def check_validity(self, user: User, action_type_id: ua.NodeId, body: object) -> bool:
        """Tell whether a request is answered."""
        return isinstance(user, BoxUser) and action_type_id in SERVICES


class BoxUsers(UserManager):
    """Know users by the file of users, which is read again at each login.

    Args:
        file: of users.
        anonymous: whether a client may read without one.
    """

    def __init__(self, file: Path, *, anonymous: bool) -> None:
        self._file = file
        self._anonymous = anonymous

    def get_user(
        self,
        iserver: InternalServer,
        username: str | None = None,
        password: str | None = None,
        certificate: bytes | None = None,
    ) -> BoxUser | None:
        """Return who this is; None if the login is refused."""
        if username is None:
            return BoxUser(UserRole.User, "anonymous") if self._anonymous else None
        try:
            known = with_password(read_users(self._file), username, password or "")
        except LoomsightError as error:
            logger.error("OPC UA: no user can log in: %s", error)
            return None
        return None if known is None else BoxUser(UserRole.User, known.name, known.may_change)
