"""A web server that runs until it is told to stop."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn

from edge.errors import ConfigError, MissingPackageError

LOOPBACK = ("127.0.0.1", "localhost")
"""Addresses that only this machine reaches."""

PATIENCE_S = 1
"""Open pages hold connections for ever; they get so long to end."""


def bound_socket(host: str, port: int) -> socket.socket:
    """Bind an address.

    Args:
        host: name or number.
        port: 0 for any that is free.
    Raises:
        ConfigError: if it is taken, or not ours to bind.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small answers at once (TCP_NODELAY) only where the protocol is named: 40 ms a request.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(128)  # a socket with SO_REUSEADDR may be bound and not listened on
    except (OSError, OverflowError) as error:
        bound.close()
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"Cannot serve on {host}, port {port}: {reason}.", "Use another --port; 0 takes a free one."
        ) from error
    return bound


def serve(app: Any, bound: socket.socket, stop: threading.Event, ready: Callable[[], None]) -> None:
    """Serve until an event is set.

    Args:
        app: ASGI application.
        bound: where.
        stop: ends it.
        ready: called once requests are answered.
    Raises:
        MissingPackageError: if the application does not start.
    """
    config = uvicorn.Config(
        app, log_level="critical", access_log=False, timeout_graceful_shutdown=PATIENCE_S
    )
    server = uvicorn.Server(config)

    def run() -> None:
        with suppress(SystemExit):  # uvicorn's way to say that the application did not start
            server.run([bound])

    thread = threading.Thread(target=run, name="review server")
    thread.start()
    try:
        while thread.is_alive() and not server.started and not stop.wait(0.05):
            pass
        if server.started:
            ready()
        while thread.is_alive() and not stop.wait(0.2):
            pass
    finally:
        server.should_exit = True
        thread.join()
    if not server.started and not stop.is_set():
        raise MissingPackageError("The page does not start.", "Install gradio anew: `pip install gradio`.")
