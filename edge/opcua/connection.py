"""Serve connections within bounds: a client that floods waits, one that does not read is cut off."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any, Final

from asyncua import ua
from asyncua.common.connection import TransportLimits
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.server.uaprocessor import UaProcessor

from edge.opcua.certificate import fingerprint_of
from edge.opcua.pace import Pace
from edge.opcua.sessions import IS_ENCRYPTED, BoxServerCore

logger = logging.getLogger(__name__)

CHUNK_BYTES: Final = 65_535
MESSAGE_BYTES: Final = 512 * 1024
LIMITS: Final = TransportLimits(
    max_recv_buffer=CHUNK_BYTES,
    max_send_buffer=CHUNK_BYTES,
    max_chunk_count=MESSAGE_BYTES // CHUNK_BYTES + 1,
    max_message_size=MESSAGE_BYTES,
)
"""Of one message: no request of a client needs more than some kilobytes."""

MOST_UNREAD_BYTES: Final = 4 * 2**20
"""So much may wait for a client that does not read."""

MOST_PENDING: Final = 64
"""Messages of a client that wait for their turn; with more its connection ends."""

LOOK_S: Final = 1.0
STALL_S: Final = 10.0
"""So long may sent bytes lie unread."""

LOGIN_S: Final = 30.0
"""So long may a connection be without a session: a client that is slow needs some for its keys."""

GONE_MS: Final = 20_000
"""A client that acknowledges nothing for so long is gone: its network broke."""

ALL_CLIENTS: Final = 4
"""All clients together have the rate of so many."""


class PacedProcessor(UaProcessor):
    """Answer the messages of one connection, no faster than its pace.

    Args:
        core: what answers.
        transport: of the connection.
        paces: of this client, and of all.
        trusted: digests of certificates that may connect; None for all.
    """

    def __init__(
        self,
        core: BoxServerCore,
        transport: asyncio.BaseTransport,
        paces: tuple[Pace, Pace],
        trusted: frozenset[bytes] | None,
    ) -> None:
        super().__init__(core, transport, LIMITS)
        self._paces = paces
        self._trusted = trusted

    async def process(self, header: Any, body: Any) -> bool:
        """Answer a message; False ends the connection, whatever a client makes of the protocol."""
        pause_s = max(pace.wait_s() for pace in self._paces)
        if pause_s:
            await asyncio.sleep(pause_s)
        policy = self._connection.security_policy
        IS_ENCRYPTED.set(policy.Mode == ua.MessageSecurityMode.SignAndEncrypt)
        try:
            return bool(await super().process(header, body)) and self._is_trusted()
        except Exception as error:  # noqa: BLE001
            logger.info("a connection is ended: %s: %s", type(error).__name__, error)
            return False

    def _is_trusted(self) -> bool:
        """Tell whether the certificate that opened the channel is known, once there is one."""
        der = self._connection.security_policy.peer_certificate
        if self._trusted is None or not der:
            return True
        if fingerprint_of(der) in self._trusted:
            return True
        logger.warning("OPC UA: a client without a trusted certificate is turned away: %s", self.name)
        return False

    async def close(self) -> None:
        """End what belongs to a connection that is gone: no session waits for a client to come back."""
        await super().close()
        if self.session is not None:
            await self.session.close_session(True)


class BoundedProtocol(OPCUAProtocol):
    """Serve one connection, and look at it once a second."""

    paces: tuple[Pace, Pace]
    trusted: frozenset[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, unless there are too many."""
        self._watch: asyncio.TimerHandle | None = None
        self._unread = 0
        self._stalled_s = self._waited_s = 0.0
        super().connection_made(transport)
        if self.transport is None:
            return
        self.processor = PacedProcessor(self.iserver, self.transport, self.paces, self.trusted)
        self.processor.set_policies(self.policies)
        self._watch = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def data_received(self, data: bytes) -> None:
        """Take what a client sends; a message that claims to be longer than any ends the connection."""
        if self.transport is None or self.transport.is_closing():
            return
        super().data_received(data)
        if len(self._buffer) > 2 * CHUNK_BYTES:
            logger.info("OPC UA: a message of %s is too long", self.peer_name)
            self.transport.abort()

    def connection_lost(self, ex: BaseException | None) -> None:
        """End the watch with the connection."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(ex)

    def _look(self) -> None:
        transport = self.transport
        if transport is None:
            return
        unread = transport.get_write_buffer_size()
        self._stalled_s = self._stalled_s + LOOK_S if unread and unread >= self._unread else 0.0
        self._unread = unread
        self._waited_s = 0.0 if self._has_session() else self._waited_s + LOOK_S
        is_stalled = self._stalled_s >= STALL_S or unread > MOST_UNREAD_BYTES
        if is_stalled or self._waited_s >= LOGIN_S or transport.is_closing():
            transport.abort()
            return
        self._watch = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _has_session(self) -> bool:
        session = self.processor.session if self.processor is not None else None
        return session is not None and session.is_activated()


class BoundedListener(BinaryServer):
    """Listen on a socket that was bound before.

    Args:
        core: what answers.
        bound: where to listen; closed by whoever bound it.
        requests_per_s: of one client.
        trusted: see `PacedProcessor`.
    """

    def __init__(
        self,
        core: BoxServerCore,
        bound: socket.socket,
        requests_per_s: float,
        trusted: frozenset[bytes] | None,
    ) -> None:
        host, port = bound.getsockname()[:2]
        super().__init__(core, host, port, LIMITS)
        self._bound = bound
        self._per_s = requests_per_s
        self._all = Pace(ALL_CLIENTS * requests_per_s)
        self._trusted = trusted

    def _make_protocol(self) -> BoundedProtocol:
        made = BoundedProtocol(self.iserver, self._policies, self.clients, self.closing_tasks, LIMITS)
        made.paces, made.trusted = (Pace(self._per_s), self._all), self._trusted
        return made

    async def start(self) -> None:
        """Begin to take connections."""
        listening = self._bound.dup()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_MS)
        self._server = await asyncio.get_running_loop().create_server(self._make_protocol, sock=listening)
        self.cleanup_task = asyncio.create_task(self._close_task_loop())

    async def stop(self) -> None:
        """End all connections, also those of clients that do not read."""
        for client in list(self.clients):
            if client.transport is not None:
                client.transport.abort()
        await super().stop()
