"""Run a web server in a thread, beside other work, on a socket that was bound before."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from typing_extensions import Self

from edge.core.errors import MissingPackageError
from edge.process.packages import install_extra
from edge.process.supervised import HelperThread
from edge.web.connection import MOST_CONNECTIONS, GuardedProtocol

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 1
"""Open pages hold connections for ever; they get so long to end."""

START_S: Final = 10.0

UNREAD_BYTES: Final = 128 * 1024
"""The system keeps so much for a reader that does not read (Linux twice that), in place of megabytes."""

GONE_MS: Final = 10_000
"""A client that acknowledges nothing for so long is gone: its network broke, and its place is free."""

LARGEST_HEAD: Final = 16 * 1024
"""Bytes of a request before its body."""


class WebServer:
    """Serve an application from entering to leaving.

    Args:
        app: what answers.
        bound: where to listen; it is closed by whoever bound it.
        name: of the thread, for logs.
        at_end: called before the server ends, so that streams end, too.
        most_connections: at a time.
    """

    def __init__(
        self,
        app: ASGIApp,
        bound: socket.socket,
        name: str,
        *,
        at_end: Iterable[Callable[[], None]] = (),
        most_connections: int = MOST_CONNECTIONS,
    ) -> None:
        self._bound = bound
        self._name = name
        self._at_end = tuple(at_end)
        self._settings = _settings(app, most_connections)
        self._server = _Server(self._settings)
        self._end = threading.Event()
        self._thread = HelperThread(name, self._serve, self._end)

    @property
    def is_serving(self) -> bool:
        """Whether requests are answered."""
        return self._thread.is_alive() and bool(self._server.started)

    def __enter__(self) -> Self:
        """Start, and wait until requests are answered.

        Raises:
            MissingPackageError: if the server does not start.
        """
        _keep_little(self._bound)
        self._thread.start()
        end_s = time.monotonic() + START_S
        while self._thread.is_alive() and not self.is_serving and time.monotonic() < end_s:
            time.sleep(0.005)
        if not self.is_serving:
            self.__exit__()
            raise MissingPackageError(
                f"The {self._name} does not start.", f"Install it again: `{install_extra('mill')}`."
            )
        return self

    def __exit__(self, *error: object) -> None:
        for call in self._at_end:
            call()
        self._end.set()
        self._server.should_exit = True
        self._thread.join(PATIENCE_S + START_S)

    def _serve(self) -> None:
        """Serve once; called again if that ends by an error, on the same socket."""
        self._server = server = _Server(self._settings)
        server.should_exit = self._end.is_set()
        with self._bound.dup() as listening, suppress(SystemExit):  # the application did not start
            server.run([listening])


class _Server(uvicorn.Server):
    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve; what goes wrong between requests is one line, as when there are no file handles left."""
        asyncio.get_running_loop().set_exception_handler(_said)
        try:
            await super().serve(sockets)
        finally:
            await self._hang_up()

    async def _hang_up(self) -> None:
        """End what a server that fell over leaves open: a client would wait for its answer for ever."""
        for listening in getattr(self, "servers", ()):
            listening.close()
        await asyncio.sleep(0)  # what was accepted just now becomes a connection
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)


def _said(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    logger.error("%s%s", context.get("message"), f": {error}" if error else "")
    logger.debug("where it came from", exc_info=error)


def _settings(app: ASGIApp, most_connections: int) -> uvicorn.Config:
    class Protocol(GuardedProtocol):
        pass

    Protocol.most_connections = most_connections
    return uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=LARGEST_HEAD,
        timeout_graceful_shutdown=PATIENCE_S,
    )


def _keep_little(bound: socket.socket) -> None:
    """Keep little for clients that do not read or are gone; accepted sockets take that over."""
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_MS)
