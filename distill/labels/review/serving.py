"""A web server that runs until it is told to stop."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn

from edge.errors import MissingPackageError

PATIENCE_S = 1
"""Open pages hold connections for ever; they get so long to end."""


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
