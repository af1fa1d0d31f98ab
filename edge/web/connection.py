"""End connections that waste the time of a device: too many, half a request, a reader that stalls."""

from __future__ import annotations

import asyncio
import logging
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

logger = logging.getLogger(__name__)

MOST_CONNECTIONS = 64
"""A browser opens at most six."""

LOOK_S = 1.0
REQUEST_TIMEOUT_S = 10.0
STALL_TIMEOUT_S = 10.0
"""So long may sent bytes lie unread. Meanwhile at most 64 KiB wait: then the page stops producing more."""

CRAWL_TIMEOUT_S = 60.0
"""So long may something lie unread at every look, however slowly it goes away."""

FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 4\r\n"
    b"Content-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: 48\r\n\r\n"
    b'{"problem":"There are too many connections now"}'
)


class GuardedProtocol(H11Protocol):
    """Serve one connection with uvicorn's own protocol, and look at it once a second."""

    most_connections: ClassVar[int] = MOST_CONNECTIONS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless there are too many already."""
        super().connection_made(transport)
        self._unread = 0
        self._stalled_s = self._crawled_s = self._waited_s = 0.0
        self._watch: asyncio.TimerHandle | None = None
        if len(self.connections) > self.most_connections:
            transport.write(FULL)
            transport.close()
            return
        self._watch = self.loop.call_later(LOOK_S, self._look)

    def data_received(self, data: bytes) -> None:
        """Take what a client sends; whatever it makes of the protocol ends this connection and no other."""
        try:
            super().data_received(data)
        except Exception as error:  # noqa: BLE001
            logger.info("a connection is ended: %s: %s", type(error).__name__, error)
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the watch with the connection."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        unread = self.transport.get_write_buffer_size()
        self._stalled_s = self._stalled_s + LOOK_S if unread and unread >= self._unread else 0.0
        self._crawled_s = self._crawled_s + LOOK_S if unread else 0.0
        self._unread = unread
        asks = self.cycle is None or self.cycle.response_complete
        self._waited_s = self._waited_s + LOOK_S if asks else 0.0
        if (
            self._stalled_s >= STALL_TIMEOUT_S
            or self._crawled_s >= CRAWL_TIMEOUT_S
            or self._waited_s >= REQUEST_TIMEOUT_S
        ):
            self.transport.abort()
            return
        self._watch = self.loop.call_later(LOOK_S, self._look)
