"""Connections that waste the time of a box are ended: too many, half a request, nobody reads."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 64
"""A browser opens at most six."""

LOOK_S = 1.0
REQUEST_TIMEOUT_S = 10.0
STALL_TIMEOUT_S = 10.0
"""So long may sent bytes lie unread. Meanwhile at most 64 KiB wait: then the page stops producing more."""


class GuardedProtocol(H11Protocol):
    """Serve one connection with uvicorn's own protocol, and look at it once a second."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless there are too many already."""
        super().connection_made(transport)
        self._unread = 0
        self._stalled_s = self._waited_s = 0.0
        self._watch: asyncio.TimerHandle | None = None
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._watch = self.loop.call_later(LOOK_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the watch with the connection."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        unread = self.transport.get_write_buffer_size()
        self._stalled_s = self._stalled_s + LOOK_S if unread and unread >= self._unread else 0.0
        self._unread = unread
        asks = self.cycle is None or self.cycle.response_complete
        self._waited_s = self._waited_s + LOOK_S if asks else 0.0
        if self._stalled_s >= STALL_TIMEOUT_S or self._waited_s >= REQUEST_TIMEOUT_S:
            self.transport.abort()
            return
        self._watch = self.loop.call_later(LOOK_S, self._look)
