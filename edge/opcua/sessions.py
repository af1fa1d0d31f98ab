"""Hold sessions of clients within bounds and rights: who may call methods, how much each may ask for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession

from edge.config.opcua import UNENCRYPTED, OpcuaSettings
from edge.opcua.pace import Guesses
from edge.opcua.rights import BoxUser, BoxUsers

logger = logging.getLogger(__name__)

MOST_NODES: Final = 500
"""Nodes in one request to read or to look at."""

MOST_CALLS: Final = 10
SHORTEST_PUBLISHING_MS, LONGEST_PUBLISHING_MS = 250.0, 60_000.0
LONGEST_SESSION_MS: Final = 600_000.0
MOST_QUEUED: Final = 1000
"""Values and events that wait in one watched item."""

MOST_UNACKNOWLEDGED: Final = 100

CALLER: ContextVar[str] = ContextVar("caller", default="anonymous")
"""Name of the user whose method call is answered."""

IS_ENCRYPTED: ContextVar[bool] = ContextVar("is_encrypted", default=False)
"""Whether the request that is answered came over an encrypted channel."""


class BoxSession(InternalSession):
    """Answer one client, within what it may do and ask for."""

    iserver: BoxServerCore

    def activate_session(
        self, params: ua.ActivateSessionParameters, peer_certificate: bytes | None
    ) -> ua.ActivateSessionResult:
        """Let a user in."""
        host, guesses = str(self.name[0]), self.iserver.guesses
        self.iserver.check_channel()
        if not guesses.may_try(host):
            raise ServiceError(ua.StatusCodes.BadUserAccessDenied)
        try:
            result = super().activate_session(params, peer_certificate)
        except Exception:
            guesses.wrong(host)
            logger.warning("OPC UA: a login from %s was refused", host)
            raise
        guesses.right(host)
        return result

    async def read(self, params: ua.ReadParameters) -> list[ua.DataValue]:
        """Read nodes."""
        _limit(params.NodesToRead, MOST_NODES)
        return await super().read(params)

    async def write(self, params: ua.WriteParameters) -> list[ua.StatusCode]:
        """Write nothing: things are changed by methods alone."""
        return [ua.StatusCode(ua.StatusCodes.BadNotWritable) for _ in params.NodesToWrite]

    async def browse(self, params: ua.BrowseParameters) -> list[ua.BrowseResult]:
        """Look at nodes."""
        _limit(params.NodesToBrowse, MOST_NODES)
        return await super().browse(params)

    async def translate_browsepaths_to_nodeids(
        self, params: list[ua.BrowsePath]
    ) -> list[ua.BrowsePathResult]:
        """Find nodes by their paths."""
        _limit(params, MOST_NODES)
        return await super().translate_browsepaths_to_nodeids(params)

    async def call(self, params: list[ua.CallMethodRequest]) -> list[ua.CallMethodResult]:
        """Call methods: only for a user who may change things, over an encrypted channel."""
        _limit(params, MOST_CALLS)
        user = self.user
        if self.external and not (isinstance(user, BoxUser) and user.may_change and IS_ENCRYPTED.get()):
            logger.warning("OPC UA: '%s' may not call a method, and did", user.name)
            denied = ua.StatusCode(ua.StatusCodes.BadUserAccessDenied)
            return [ua.CallMethodResult(StatusCode=denied) for _ in params]
        CALLER.set(user.name or "anonymous")
        return await super().call(params)

    async def create_subscription(
        self, params: ua.CreateSubscriptionParameters, callback: Any, request_callback: Any = None
    ) -> ua.CreateSubscriptionResult:
        """Begin to publish, no more often than a person could see."""
        wanted_ms = params.RequestedPublishingInterval
        is_number = wanted_ms == wanted_ms
        params.RequestedPublishingInterval = (
            min(max(wanted_ms, SHORTEST_PUBLISHING_MS), LONGEST_PUBLISHING_MS)
            if is_number
            else SHORTEST_PUBLISHING_MS
        )
        return await super().create_subscription(params, callback, request_callback)

    async def create_monitored_items(
        self, params: ua.CreateMonitoredItemsParameters
    ) -> list[ua.MonitoredItemCreateResult]:
        """Watch nodes."""
        self._check_own([params.SubscriptionId])
        own = self._own_subscriptions()
        watched = sum(len(own[one].monitored_item_srv._monitored_items) for one in own)
        if watched + len(params.ItemsToCreate) > self.iserver.most_items:
            raise ServiceError(ua.StatusCodes.BadTooManyMonitoredItems)
        return await super().create_monitored_items(params)

    async def modify_monitored_items(
        self, params: ua.ModifyMonitoredItemsParameters
    ) -> list[ua.MonitoredItemModifyResult]:
        """Watch nodes otherwise."""
        self._check_own([params.SubscriptionId])
        return await super().modify_monitored_items(params)

    async def delete_monitored_items(
        self, params: ua.DeleteMonitoredItemsParameters
    ) -> list[ua.StatusCode]:
        """Watch nodes no more."""
        self._check_own([params.SubscriptionId])
        return await super().delete_monitored_items(params)

    async def set_monitoring_mode(self, params: ua.SetMonitoringModeParameters) -> list[ua.StatusCode]:
        """Switch watching on or off."""
        self._check_own([params.SubscriptionId])
        return await super().set_monitoring_mode(params)

    async def set_publishing_mode(self, params: ua.SetPublishingModeParameters) -> list[ua.StatusCode]:
        """Switch publishing on or off."""
        self._check_own(params.SubscriptionIds)
        return await super().set_publishing_mode(params)

    def modify_subscription(self, params: ua.ModifySubscriptionParameters) -> ua.ModifySubscriptionResult:
        """Say how a subscription publishes."""
        self._check_own([params.SubscriptionId])
        return super().modify_subscription(params)

    def republish(self, params: ua.RepublishParameters) -> ua.NotificationMessage:
        """Publish again what was not acknowledged."""
        self._check_own([params.SubscriptionId])
        return super().republish(params)

    async def delete_subscriptions(self, ids: list[int]) -> list[ua.StatusCode]:
        """End subscriptions."""
        self._check_own(ids)
        return await super().delete_subscriptions(ids)

    def _own_subscriptions(self) -> dict[int, Any]:
        every = self.subscription_service.subscriptions
        return {number: one for number, one in every.items() if one.session_id == self.session_id}

    def _check_own(self, numbers: Sequence[int]) -> None:
        """Refuse what is about the subscription of another client.

        Raises:
            ServiceError: if one is.
        """
        if self.external and not self._own_subscriptions().keys() >= set(numbers):
            raise ServiceError(ua.StatusCodes.BadSubscriptionIdInvalid)


class BoxServerCore(InternalServer):
    """Hold nodes, sessions and their bounds.

    Args:
        settings: the bounds.
    Attributes:
        guesses: wrong passwords by host.
        most_items: that the subscriptions of one client watch.
    """

    def __init__(self, settings: OpcuaSettings, most_pending: int, most_waiting_s: float) -> None:
        self._sessions: dict[ua.NodeId, InternalSession] = {}
        self.guesses = Guesses()
        self.most_items = settings.most_items
        users = BoxUsers(settings.users_file, anonymous=settings.anonymous)
        super().__init__(user_manager=users)
        tokens = [ua.UserNameIdentityToken, *([ua.AnonymousIdentityToken] if settings.anonymous else [])]
        self.supported_tokens = tuple(tokens)
        self.allow_remote_admin = False
        self.max_session_timeout_ms = LONGEST_SESSION_MS
        self.max_unacked_messages_per_subscription = MOST_UNACKNOWLEDGED
        self.max_monitored_item_queue_size = MOST_QUEUED
        self.max_pending_messages_per_connection = most_pending
        self.max_connections = settings.most_clients
        self.max_pending_activation_seconds = most_waiting_s
        self.max_lifetime_count, self.max_keep_alive_count = 1000, 300
        self.max_subscriptions = settings.most_subscriptions
        self._most_sessions = settings.most_clients
        self._permits_unencrypted = UNENCRYPTED in settings.policies

    def check_channel(self) -> None:
        """Refuse a session over a channel that is open for discovery only.

        Raises:
            ServiceError: if it is not encrypted, and the settings do not permit that.
        """
        if not (IS_ENCRYPTED.get() or self._permits_unencrypted):
            raise ServiceError(ua.StatusCodes.BadSecurityPolicyRejected)

    def create_session(
        self, name: str, user: User | None = None, external: bool = False
    ) -> InternalSession:
        """Begin a session; each connection has one."""
        if external:
            self.check_channel()
        if external and (
            len(self._sessions) >= self._most_sessions
            or any(session.name == name for session in self._sessions.values())
        ):
            raise ServiceError(ua.StatusCodes.BadTooManySessions)
        known = user or User(role=UserRole.Anonymous)
        return BoxSession(self, self.aspace, self.subscription_service, name, known, external)

    def register_external_session(self, session: InternalSession) -> None:
        """Note a session of a client."""
        self._sessions[session.auth_token] = session

    def unregister_external_session(self, session: InternalSession) -> None:
        """Forget a session."""
        self._sessions.pop(session.auth_token, None)

    def lookup_external_session(self, auth_token: ua.NodeId) -> InternalSession | None:
        """Return no session: one belongs to its connection, so that none can be taken over from another.

        asyncua 2.1 numbers its sessions, and keeps one for a connection also where its login is refused.
        """
        return None

    def register_server(self, server: Any, conf: Any = None) -> None:
        """Refuse to be a discovery server.

        Raises:
            ServiceError: always.
        """
        raise ServiceError(ua.StatusCodes.BadServiceUnsupported)


def _limit(asked: Sequence[object], most: int) -> None:
    """Refuse a request for too much at once.

    Raises:
        ServiceError: if it is.
    """
    if len(asked) > most:
        raise ServiceError(ua.StatusCodes.BadTooManyOperations)
